import type { Cell, Row } from './rows'
import { useTexts } from './texts'

const shownRows = 500 // more make the page slow, and nobody reads them

export function Table({ columns, rows, label, className = '' }: { columns: string[]; rows: Row[]; label?: string; className?: string }) {
  const t = useTexts()
  return (
    <div className={`scrolls ${className}`} tabIndex={0} role="region" aria-label={label ?? t.table}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, shownRows).map((row, i) => (
            <tr key={i}>
              {columns.map((column) => (
                <td key={column} className={typeof row[column] === 'number' ? 'number' : undefined}>
                  {text(row[column])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > shownRows && <p className="note">{t.onlyFirst(shownRows)}</p>}
    </div>
  )
}

const text = (cell: Cell | undefined) => (cell === null || cell === undefined ? <span className="null">null</span> : String(cell))
