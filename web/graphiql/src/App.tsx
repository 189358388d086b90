import { GraphiQL } from 'graphiql'
import type { Fetcher } from '@graphiql/toolkit'
import { Kind, parse, type GraphQLSchema, type OperationDefinitionNode } from 'graphql'
import { useEffect, useMemo, useRef, useState } from 'react'
import { ask, fetchRole, fetchSchema, refusal, Refused, type Headers, type Operation, type OperationKind } from './api'
import { Bar } from './Bar'
import { config, withTitle } from './config'
import { sharedQuery } from './share'
import { Results } from './Results'
import { Texts, texts, type Lang } from './texts'

/** Who the page asks as. */
export type Session =
  | { state: 'none' | 'checking' }
  | { state: 'in'; role: string; notTaken?: string } // why the token that was pasted meanwhile was not
  | { state: 'refused'; reason: string }
  | { state: 'unreachable'; reason: string }

// GraphiQL would keep queries, variables and headers in the browser for whoever uses it next.
const memory = new Map<string, string>()
const storage = {
  getItem: (key: string) => memory.get(key) ?? null,
  setItem: (key: string, value: string) => void memory.set(key, value),
  removeItem: (key: string) => void memory.delete(key),
  clear: () => memory.clear(),
  get length() {
    return memory.size
  },
}

const browserLang: Lang = navigator.language.startsWith('ko') ? 'ko' : 'en'
const example = config.examples[0]
const first = sharedQuery() ?? { query: example ? withTitle(example, browserLang) : '', variables: example?.variables ?? '' }
const tabs = [{ query: first.query, variables: first.variables }]

/**
 * chosen is the operation that is sent, and its kind. GraphiQL looks at a
 * document some time after it was edited, and may name an operation of the one before.
 */
function chosen(operation: Operation): { operation: Operation; kind: OperationKind } {
  let operations: OperationDefinitionNode[] = []
  try {
    operations = parse(operation.query).definitions.filter((d) => d.kind === Kind.OPERATION_DEFINITION)
  } catch {
    // The server says what is wrong with it.
  }
  const named = operations.find(({ name }) => name && name.value === operation.operationName)
  return {
    operation: { ...operation, operationName: named ? operation.operationName : undefined },
    kind: (named ?? operations[0])?.operation ?? 'query',
  }
}

export function App() {
  const [lang, setLang] = useState(browserLang)
  const [given, setGiven] = useState({ token: config.signIns[0]?.token ?? '' }) // an object: the same may be tried again
  const { token } = given
  const [visit, setVisit] = useState(0)
  const signOut = () => {
    setGiven({ token: '' })
    memory.clear()
    setVisit(visit + 1) // whoever comes next sees no answers
  }
  const [session, setSession] = useState<Session>({ state: 'none' })
  const [schema, setSchema] = useState<GraphQLSchema | null>(null)

  const headers: Headers = { 'Accept-Language': lang }
  if (token) headers.Authorization = `Bearer ${token}`
  const current = useRef(headers) // for what outlives this rendering
  current.current = headers

  useEffect(() => {
    document.documentElement.lang = lang
  }, [lang])

  useEffect(() => {
    let over = false
    const tell = (session: Session) => over || setSession(session)
    tell({ state: token ? 'checking' : 'none' })
    fetchSchema(current.current).then(
      (schema) => over || setSchema(schema),
      () => over || setSchema(null), // the session says why
    )
    if (token) {
      fetchRole(current.current).then(
        (role) => tell({ state: 'in', role }),
        (error) => tell(error instanceof Refused ? { state: 'refused', reason: error.message } : { state: 'unreachable', reason: error.message }),
      )
    }
    return () => {
      over = true
    }
  }, [given])

  const latest = useRef(given)
  latest.current = given
  const mayPaste = async (pasted: string) => {
    if (session.state !== 'in') return true
    let notTaken: string | undefined
    try {
      await fetchRole({ ...current.current, Authorization: `Bearer ${pasted}` })
    } catch (error) {
      notTaken = (error as Error).message
    }
    if (latest.current !== given) return false // somebody else has signed in, or out, meanwhile
    setSession((now) => (now.state === 'in' ? { ...now, notTaken } : now))
    return notTaken === undefined
  }

  const [subscribed, setSubscribed] = useState(false)
  const fetcher = useMemo<Fetcher>(
    () => (given, options) => {
      const headers = { ...current.current, ...options?.headers }
      const { operation, kind } = chosen(given)
      setSubscribed(kind === 'subscription')
      return ask(operation, kind, headers, ({ errors }) => {
        const reason = refusal(errors)
        if (reason !== undefined) setSession(headers.Authorization ? { state: 'refused', reason } : { state: 'none' }) // it may have expired since
      }) as never
    },
    [],
  )

  const [bar, setBar] = useState<HTMLElement | null>(null)
  return (
    <Texts value={texts[lang]}>
      <header ref={setBar} className="bar" />
      <main>
        <GraphiQL
          key={visit}
          fetcher={fetcher}
          schema={schema}
          dangerouslyAssumeSchemaIsValid // the server has checked it
          storage={storage}
          defaultTabs={tabs}
          initialVariables={first.variables}
          shouldPersistHeaders={false}
          defaultEditorToolsVisibility={Boolean(first.variables)}
        >
          <GraphiQL.Logo>{' '}</GraphiQL.Logo>
          <GraphiQL.Footer>
            <Results headers={() => current.current} subscribed={subscribed} role={session.state === 'in' ? session.role : undefined} />
          </GraphiQL.Footer>
          {bar && (
            <Bar
              element={bar}
              lang={lang}
              setLang={setLang}
              token={token}
              mayPaste={mayPaste}
              signIn={(token) => setGiven({ token })}
              signOut={signOut}
              session={session}
              hasSchema={schema !== null}
            />
          )}
        </GraphiQL>
      </main>
    </Texts>
  )
}
