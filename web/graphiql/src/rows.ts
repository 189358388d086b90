import type { Result } from './api'

export type Cell = string | number | boolean | null
export type Row = Record<string, Cell>

/** Rows are an answer as a table: of the first list in it, else of the whole as one row. */
export interface Rows {
  columns: string[]
  rows: Row[]
  /** What stands beside the list, as one row. */
  beside: Row
  /** Where the list is in data: response names. Null: there is none. */
  path: string[] | null
  connection: Connection | null
}

/** What is asked for of a Relay connection may lack each part. */
export interface Connection {
  nodes?: unknown[] | null
  edges?: ({ node?: unknown } | null)[] | null
  pageInfo?: { hasNextPage?: boolean; endCursor?: string | null }
  totalCount?: number
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export function rowsOf({ data }: Result): Rows | null {
  if (!isObject(data)) return null
  const found = findList(data)
  const only = Object.keys(data).length === 1 ? Object.values(data)[0] : data
  const rows = (found?.items ?? [isObject(only) ? only : data]).map((item) => {
    const row: Row = {}
    flatten(row, '', isObject(item) ? item : { value: item })
    return row
  })
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const columns = names.filter((name) => !names.some((other) => other.startsWith(`${name}.`))) // an object that is null in some
  const beside: Row = {}
  if (found) flatten(beside, '', data, found.connection ?? found.items)
  return { columns, rows, beside, path: found?.path ?? null, connection: found?.connection ?? null }
}

/** findList looks for a field that answers a list, or for the least deep connection. */
function findList(data: Record<string, unknown>): { path: string[]; items: unknown[]; connection: Connection | null } | null {
  const queue: { path: string[]; value: Record<string, unknown> }[] = [{ path: [], value: data }]
  for (const { path, value } of queue) {
    const connection = value as Connection
    if (path.length > 0 && Array.isArray(connection.nodes)) return { path, items: connection.nodes, connection }
    if (path.length > 0 && Array.isArray(connection.edges)) {
      return { path, items: connection.edges.map((edge) => edge?.node ?? edge), connection }
    }
    for (const [name, inner] of Object.entries(value)) {
      if (path.length === 0 && Array.isArray(inner)) return { path: [name], items: inner, connection: null }
      if (isObject(inner)) queue.push({ path: [...path, name], value: inner })
    }
  }
  return null
}

/** flatten puts what is nested under dotted names, but for one part. */
function flatten(row: Row, prefix: string, value: Record<string, unknown>, but?: unknown) {
  for (const [name, inner] of Object.entries(value)) {
    const column = prefix + name
    if (inner === but) continue
    if (isObject(inner)) flatten(row, column + '.', inner, but)
    else if (Array.isArray(inner)) row[column] = inner.some(isObject) ? JSON.stringify(inner) : inner.join('; ')
    else row[column] = inner as Cell
  }
}

/**
 * csv is RFC 4180. A text that a spreadsheet would run as a formula gets an apostrophe
 * before it (OWASP, CSV injection), also behind blanks and what nobody sees, which some take
 * away, and in other widths (NFKC makes them one). Numbers cannot be one.
 */
export function csv(columns: string[], rows: Row[]): string {
  const cell = (value: Cell | undefined) => {
    const text = String(value ?? '')
    const safe = typeof value === 'string' && /^[\t\r\n]|^[\s\p{C}]*[=+\-@]/u.test(text.normalize('NFKC')) ? `'${text}` : text
    return `"${safe.replaceAll('"', '""')}"`
  }
  const lines = [columns.map(cell), ...rows.map((row) => columns.map((column) => cell(row[column])))]
  return lines.map((line) => line.join(',') + '\r\n').join('')
}
