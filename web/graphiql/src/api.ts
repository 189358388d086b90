import { buildSchema, type GraphQLSchema } from 'graphql'
import { config } from './config'

/** An answer of the server; data is null where errors say why. */
export interface Result {
  data?: Record<string, unknown> | null
  errors?: { message: string; locations?: { line: number }[]; extensions?: Record<string, unknown> }[]
}

/** An operation, as GraphQL over HTTP sends it. */
export interface Operation {
  query: string
  variables?: unknown
  operationName?: string | null
}

export type OperationKind = 'query' | 'mutation' | 'subscription'
export type Headers = Record<string, string>

/** Refused is the server's 401, with what it says of the token. */
export class Refused extends Error {}

/** refusal is what the server says of a token that is none, or not valid any more. */
export const refusal = (errors: Result['errors']) => errors?.find((error) => error.extensions?.code === 'UNAUTHENTICATED')?.message

function post(operation: Operation, headers: Headers, accept: string, signal?: AbortSignal) {
  return fetch(`${config.basePath}/graphql`, {
    method: 'POST',
    credentials: 'same-origin',
    headers: { ...headers, 'Content-Type': 'application/json', Accept: accept },
    body: JSON.stringify(operation),
    signal,
  })
}

async function readResult(response: Response): Promise<Result> {
  const text = await response.text()
  try {
    return JSON.parse(text)
  } catch {
    throw new Error(`The server answered ${response.status} ${response.statusText}: ${text.slice(0, 500)}`)
  }
}

/** query runs a query or mutation. A caller that is too fast is told so by the server, and waits. */
export async function query(operation: Operation, headers: Headers, signal?: AbortSignal): Promise<Result> {
  for (;;) {
    const response = await post(operation, headers, 'application/graphql-response+json, application/json', signal)
    if (response.status !== 429) return readResult(response)
    const seconds = Number(response.headers.get('Retry-After')) || 1
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    signal?.throwIfAborted()
  }
}

/** readEvents yields the results of GraphQL over server-sent events (distinct connections). */
async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<Result> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader()
  let buffer = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const blocks = (buffer + value).split(/\r?\n\r?\n/)
    buffer = blocks.pop()!
    for (const block of blocks) {
      const lines = block.split(/\r?\n/)
      if (lines.includes('event: complete')) return
      const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5)).join('\n')
      if (data.trim()) yield JSON.parse(data)
    }
  }
}

async function* results(operation: Operation, kind: OperationKind, headers: Headers, signal: AbortSignal): AsyncGenerator<Result, undefined> {
  // What a mutation has begun is not cut off.
  if (kind !== 'subscription') return void (yield await query(operation, headers, kind === 'query' ? signal : undefined))
  const response = await post(operation, headers, 'text/event-stream', signal)
  if (response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
    yield* readEvents(response.body!)
  } else {
    yield await readResult(response)
  }
}

/**
 * ask tells each result to seen, and returns an async iterator, also of the one answer of a query: so GraphiQL can stop it,
 * and it does not come into another tab. Stopping must end it at once: an async generator's
 * own return() would wait for the next event.
 */
export function ask(operation: Operation, kind: OperationKind, headers: Headers, seen: (result: Result) => void): AsyncIterableIterator<Result> {
  const controller = new AbortController()
  const answers = results(operation, kind, headers, controller.signal)
  const end = { value: undefined, done: true } as const
  let stop!: () => void
  const stopped = new Promise<typeof end>((resolve) => (stop = () => resolve(end)))
  return {
    [Symbol.asyncIterator]() {
      return this
    },
    async next() {
      const next = await Promise.race([stopped, answers.next()])
      if (!next.done) seen(next.value)
      return next
    },
    async return() {
      stop()
      controller.abort()
      return end
    },
  }
}

/** fetchSchema asks for the schema file: unlike introspection it is there for every valid token. */
export async function fetchSchema(headers: Headers): Promise<GraphQLSchema> {
  const response = await fetch(`${config.basePath}/schema.graphql`, { headers })
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`)
  return buildSchema(await response.text())
}

/** fetchRole tells whose token this is. */
export async function fetchRole(headers: Headers): Promise<string> {
  const { data, errors } = await query({ query: '{ viewer { role } }' }, headers)
  const reason = refusal(errors)
  if (reason !== undefined) throw new Refused(reason)
  const viewer = data?.viewer as { role: string } | undefined
  if (!viewer) throw new Error(errors?.[0]?.message ?? 'no answer')
  return viewer.role
}
