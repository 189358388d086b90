import type { Cell, Row } from './rows'
import { useTexts } from './texts'

const shownRows = 500 // more make the page slow, and nobody reads them

export function Table({ columns, rows }: { columns: string[]; rows: Row[] }) {
  const t = useTexts()
  return (
    <div className="scrolls" tabIndex={0} role="region" aria-label={t.table}>
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
