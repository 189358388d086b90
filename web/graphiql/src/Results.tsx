import { useGraphiQL, useGraphiQLActions } from '@graphiql/react'
import { useEffect, useMemo, useRef, useState } from 'react'
import type { Headers, Result } from './api'
import { Chart, countsOf, tableOf } from './Chart'
import { asksIdentifiers } from './identifiers'
import { loadPages, pagesOf } from './pages'
import { csv, rowsOf, type Row, type Rows } from './rows'
import { useSaid } from './Said'
import { Table } from './Table'
import { useTexts } from './texts'

type View = 'table' | 'chart' | 'json'

/**
 * Results shows the answer of the tab as more than JSON, which GraphiQL itself shows, and why
 * there is none, or not all of it.
 */
export function Results({ headers, subscribed, role }: { headers(): Headers; subscribed: boolean; role?: string }) {
  const t = useTexts()
  const { stop } = useGraphiQLActions()
  const tab = useGraphiQL(({ tabs, activeTabIndex }) => tabs[activeTabIndex])
  const isFetching = useGraphiQL((state) => state.isFetching)
  const listening = useGraphiQL((state) => state.subscription !== null) && subscribed
  const [left, setLeft] = useState<readonly string[]>([]) // tabs that were left while they listened
  const open = useRef(tab.id)
  open.current = tab.id
  useEffect(() => {
    if (!listening) return
    setLeft((left) => left.filter((id) => id !== tab.id))
    return () => {
      if (open.current !== tab.id) setLeft((left) => [...left, tab.id])
    }
  }, [tab.id, listening])
  useEffect(() => stop, [tab.id]) // what one tab runs is never shown in another
  useEffect(showTab, [tab.id, tab.title]) // the title comes later, and widens it
  const answer = useMemo(() => read(tab.response), [tab.response])
  const rows = useMemo(() => answer && rowsOf(answer), [answer])
  const hidden = useMemo(() => role === 'analyst' && asksIdentifiers(tab.query ?? ''), [role, tab.query])
  const [chosen, choose] = useState<View | null>(null)
  const [by, setBy] = useState<{ column?: string; split?: string }>({})
  const view = chosen ?? (rows?.path ? 'table' : 'json')

  const counted = useMemo(() => (rows && view === 'chart' ? countsOf(rows, by.column, by.split) : null), [rows, view, by])
  const shown = counted ? tableOf(counted, t) : rows
  let note = ''
  if (isFetching) note = subscribed ? t.waiting : t.running
  else if (left.includes(tab.id)) note = t.leftTab
  else if (!tab.response) note = t.runIt
  else if (view !== 'json' && !answer?.errors && (!rows || (view === 'chart' && !counted))) note = t.noList
  return (
    <section className="results" data-view={view} aria-label={t.view}>
      <div className="results-bar">
        <div role="group" aria-label={t.view} className="choice">
          {(['table', 'chart', 'json'] as const).map((v) => (
            <button key={v} type="button" aria-pressed={v === view} onClick={() => choose(v)}>
              {t[v]}
            </button>
          ))}
        </div>
        {rows?.path && <Loader key={tab.id} rows={rows} headers={headers} />}
        {shown && shown.rows.length > 0 && <CSV columns={shown.columns} rows={shown.rows} name={(tab.operationName ?? 'result') + (counted ? '-counts' : '')} />}
      </div>
      <p role="status" className="note">
        {note}
      </p>
      {hidden && rows && <p className="note">{t.hidden}</p>}
      <Errors errors={answer?.errors ?? []} />
      {view === 'table' && rows && Object.keys(rows.beside).length > 0 && (
        <Table columns={Object.keys(rows.beside)} rows={[rows.beside]} label={t.beside} className="beside" />
      )}
      {view === 'table' && rows && rows.rows.length > 0 && <Table columns={rows.columns} rows={rows.rows} />}
      {view === 'chart' && rows && counted && <Chart columns={rows.columns} counted={counted} set={setBy} />}
    </section>
  )
}

/** showTab scrolls the strip of tabs alone to the one that is open. */
function showTab() {
  const strip = document.querySelector('.graphiql-tabs')!
  const [from, to] = [strip, strip.querySelector('.graphiql-tab-active')!].map((element) => element.getBoundingClientRect())
  strip.scrollLeft += Math.min(0, to.left - from.left) || Math.max(0, to.right - from.right)
}

/** Errors says each once: many rows may lack something for one reason. */
function Errors({ errors }: { errors: NonNullable<Result['errors']> }) {
  const t = useTexts()
  const said = errors.map(({ message, locations }) => (locations?.length ? `${message} (${t.line(locations[0]!.line)})` : message))
  return (
    <div role="alert" className="errors">
      {[...new Set(said)].map((message) => (
        <p key={message}>{message}</p>
      ))}
    </div>
  )
}

function read(response: string | null): Result | null {
  try {
    return response ? JSON.parse(response) : null
  } catch {
    return null // not an answer, but what GraphiQL says of one
  }
}

/** Loader says how many rows there are, and gets the pages that are missing. */
function Loader({ rows, headers }: { rows: Rows; headers(): Headers }) {
  const t = useTexts()
  const { updateActiveTabValues } = useGraphiQLActions()
  const { queryEditor, variableEditor, responseEditor, operationName } = useGraphiQL((state) => ({
    queryEditor: state.queryEditor,
    variableEditor: state.variableEditor,
    responseEditor: state.responseEditor,
    operationName: state.operationName,
  }))
  const [loaded, setLoaded] = useState<{ rows: number; total?: number } | null>(null)
  const [said, setSaid] = useState('')
  const loading = useRef<AbortController>(null)
  useEffect(() => () => loading.current?.abort(), []) // the tab was left

  const load = async () => {
    const started = responseEditor?.getValue()
    const isHere = () => started === responseEditor?.getValue() // else another answer has come meanwhile
    const controller = new AbortController()
    loading.current = controller
    let all: Result | null = null
    setSaid('')
    try {
      const variables = JSON.parse(variableEditor?.getValue() || '{}')
      const pages = pagesOf(queryEditor?.getValue() ?? '', operationName, variables, rows.path!)
      if (!pages) return setSaid(t.changedMeanwhile)
      setLoaded({ rows: 0 })
      for await (const loaded of loadPages(pages, rows.path!, headers(), controller.signal)) {
        all = loaded.answer
        setLoaded(loaded)
      }
    } catch (error) {
      setSaid(controller.signal.aborted ? t.stopped : t.failed((error as Error).message))
    }
    setLoaded(null)
    if (all && isHere()) {
      const response = JSON.stringify(all, null, 2)
      responseEditor?.setValue(response)
      updateActiveTabValues({ response })
    }
  }

  if (loaded) {
    return (
      <>
        <progress aria-label={t.loading(loaded.rows)} value={loaded.total && loaded.rows} max={loaded.total} />
        <span className="note">{t.loading(loaded.rows) + (loaded.total ? t.ofTotal(loaded.total) : '')}</span>
        <button type="button" onClick={() => loading.current?.abort()}>
          {t.stop}
        </button>
      </>
    )
  }
  const { connection } = rows
  const n = rows.rows.length
  // Undefined: the answer does not say.
  const more = connection?.pageInfo?.hasNextPage ?? (connection?.totalCount === undefined ? undefined : connection.totalCount > n)
  const perhaps = connection !== null && more === undefined && n > 0
  return (
    <>
      <span role="status" className="note">
        {Object.keys(rows.beside).length > 0 && `${rows.path!.join('.')}: `}
        {t.rows(n)}
        {connection?.totalCount !== undefined && t.ofTotal(connection.totalCount)}
        {more && ` · ${t.moreRows}`}
        {perhaps && t.perhapsMore} {said}
      </span>
      {(more || perhaps) && (
        <button type="button" onClick={load}>
          {t.loadAll}
        </button>
      )}
    </>
  )
}

function CSV({ columns, rows, name }: { columns: string[]; rows: Row[]; name: string }) {
  const t = useTexts()
  const [said, say] = useSaid()
  const download = () => {
    // Excel takes a file for UTF-8 by its first bytes alone.
    const url = URL.createObjectURL(new Blob(['\ufeff', csv(columns, rows)], { type: 'text/csv' }))
    const link = Object.assign(document.createElement('a'), { href: url, download: `${name}.csv` })
    link.click()
    URL.revokeObjectURL(url)
  }
  const copy = async () => say(await navigator.clipboard.writeText(csv(columns, rows)).then(() => t.copied, () => t.notCopied))
  return (
    <>
      <button type="button" onClick={download}>
        {t.downloadCSV}
      </button>
      <span className="copy">
        <button type="button" onClick={copy}>
          {t.copyCSV}
        </button>
        <span role="status" className="note">
          {said}
        </span>
      </span>
    </>
  )
}
