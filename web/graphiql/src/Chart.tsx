import type { Cell, Row, Rows } from './rows'
import { Table } from './Table'
import { useTexts, type texts } from './texts'

const mostBars = 150
const mostParts = 6
const shownName = 24 // characters of a value

interface Counted {
  column: string
  split?: string
  total: number
  bars: { key: string; value: Cell; count: number; parts: number[] }[]
  parts: string[] // what the split has; one empty name without it
}

// Rows without a value are counted too, under an empty key.
const key = (cell: Cell | undefined) => (cell === null || cell === undefined ? '' : String(cell))

/** countsOf counts rows by a column, and by another within it. */
export function countsOf({ columns, rows }: Rows, column?: string, split?: string): Counted | null {
  const distinct = (column: string) => new Set(rows.map((row) => key(row[column]))).size
  if (!column || !columns.includes(column)) {
    if (columns.length === 2 && distinct(columns[1]) <= mostParts) {
      ;[column, split] = columns // nothing else can be meant
    } else {
      // What repeats says more than a number that each patient has of its own.
      column = columns.find((c) => distinct(c) > 1 && distinct(c) <= rows.length / 2) ?? columns[0]
    }
  }
  if (!column) return null
  if (!split || !columns.includes(split) || split === column) split = undefined

  const counts = new Map<string, Map<string, number>>()
  const totals = new Map<string, number>()
  const values = new Map<string, Cell>()
  for (const row of rows) {
    const [bar, part] = [key(row[column]), split ? key(row[split]) : '']
    const parts = counts.get(bar) ?? new Map<string, number>()
    counts.set(bar, parts.set(part, (parts.get(part) ?? 0) + 1))
    totals.set(part, (totals.get(part) ?? 0) + 1)
    values.set(bar, row[column])
  }
  const parts = [...totals.keys()].sort((a, b) => totals.get(b)! - totals.get(a)!)
  const bars = [...counts].map(([key, of]) => {
    const each = parts.map((part) => of.get(part) ?? 0)
    return { key, value: values.get(key)!, count: each.reduce((sum, n) => sum + n, 0), parts: each }
  })
  const inOrder = bars.every(({ key }) => key === '' || /^-?\d+(\.\d+)?$/.test(key))
  const place = (key: string) => (key === '' ? Number.MAX_VALUE : Number(key))
  bars.sort(inOrder ? (a, b) => place(a.key) - place(b.key) : (a, b) => b.count - a.count || a.key.localeCompare(b.key))
  return { column, split, total: rows.length, bars, parts }
}

/** tableOf is what was counted as a table. */
export function tableOf({ column, split, bars, parts }: Counted, t: typeof texts.en): { columns: string[]; rows: Row[] } {
  const names = split ? parts.map((part) => part || t.without(split)) : []
  return {
    columns: [column, ...names, t.count],
    rows: bars.map((bar) => ({
      [column]: bar.key ? bar.value : t.without(column),
      ...Object.fromEntries(names.map((name, i) => [name, bar.parts[i]])),
      [t.count]: bar.count,
    })),
  }
}

interface Props {
  columns: string[]
  counted: Counted
  set(by: { column: string; split: string }): void
}

export function Chart({ columns, counted, set }: Props) {
  const t = useTexts()
  const { column, split = '', parts, total } = counted
  const bars = counted.bars.slice(0, mostBars)
  const longest = Math.max(...bars.map((bar) => bar.count))
  const name = (key: string) => (key || t.without(column)).slice(0, shownName)
  const label = Math.min(30, 6 + 2.2 * Math.max(...bars.map((bar) => name(bar.key).length))) // per cent of the width
  const shade = (part: number) => `part part-${Math.min(part, mostParts)}`
  return (
    <div className="chart scrolls" tabIndex={0} role="region" aria-label={t.chart}>
      <p className="choices">
        <label>
          {t.countBy}{' '}
          <select value={column} onChange={(event) => set({ column: event.target.value, split })}>
            {columns.map((column) => (
              <option key={column}>{column}</option>
            ))}
          </select>
        </label>
        <label>
          {t.splitBy}{' '}
          <select value={split} onChange={(event) => set({ column, split: event.target.value })}>
            <option value="">{t.nothing}</option>
            {columns
              .filter((other) => other !== column)
              .map((column) => (
                <option key={column}>{column}</option>
              ))}
          </select>
        </label>
      </p>
      {split && (
        <ul className="legend">
          {parts.map((part, i) => (
            <li key={part}>
              <svg width="12" height="12" aria-hidden="true">
                <rect width="12" height="12" className={shade(i)} />
              </svg>
              {part || t.without(split)}
            </li>
          ))}
        </ul>
      )}
      <svg role="img" aria-label={t.chartOf(split ? `${column}, ${split}` : column, total)} width="100%" height={bars.length * 24}>
        {bars.map((bar, i) => {
          let x = label
          return (
            <g key={bar.key}>
              <text x={`${label - 1}%`} y={i * 24 + 16} textAnchor="end">
                {name(bar.key)}
              </text>
              {bar.parts.map((count, part) => {
                const width = (count / longest) * (88 - label)
                const from = x
                x += width
                return <rect key={part} x={`${from}%`} y={i * 24 + 3} width={`${width}%`} height="18" className={shade(part)} />
              })}
              <text x={`${x + 1}%`} y={i * 24 + 16}>
                {bar.count.toLocaleString()}
              </text>
            </g>
          )
        })}
      </svg>
      {counted.bars.length > mostBars && <p className="note">{t.others(counted.bars.length - mostBars)}</p>}
      <Table {...tableOf(counted, t)} />
    </div>
  )
}
