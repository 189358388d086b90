import {
  Kind,
  parse,
  print,
  visit,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type NameNode,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql'
import { query, type Headers, type Operation, type Result } from './api'
import type { Connection } from './rows'

type Variables = Record<string, unknown>

/** A query of a connection that can be asked for its further pages. */
export interface Pages {
  /** at makes the operation of the page behind a cursor; null: the first, as it was written. */
  at(cursor: string | null): Operation
}

const pageInfo = parse('{ pageInfo { hasNextPage endCursor } }', { noLocation: true }).definitions[0] as OperationDefinitionNode

/** pagesOf finds the field of the connection at path. Null: it is not there, or read from its end. */
export function pagesOf(text: string, operationName: string | undefined, variables: Variables, path: string[]): Pages | null {
  let document: DocumentNode
  try {
    document = parse(text)
  } catch {
    return null
  }
  const connection = fieldAt(document, operationName, path)
  const given = connection?.arguments ?? []
  if (!connection?.selectionSet || given.some(({ name }) => name.value === 'last' || name.value === 'before')) return null
  const after = given.find(({ name }) => name.value === 'after')?.value
  return {
    at(cursor) {
      let others = given
      if (cursor !== null && after?.kind === Kind.VARIABLE) {
        variables = { ...variables, [after.name.value]: cursor }
      } else if (cursor !== null) {
        const name: NameNode = { kind: Kind.NAME, value: 'after' }
        others = given.filter(({ name }) => name.value !== 'after')
        others = [...others, { kind: Kind.ARGUMENT, name, value: { kind: Kind.STRING, value: cursor } }]
      }
      const selections = [...connection.selectionSet!.selections, ...pageInfo.selectionSet.selections] // twice is once
      const field = { ...connection, arguments: others, selectionSet: { kind: Kind.SELECTION_SET, selections } }
      return { query: print(visit(document, { Field: (node) => (node === connection ? field : undefined) })), operationName, variables }
    },
  }
}

/** fieldAt follows response names, through fragments. */
function fieldAt(document: DocumentNode, operationName: string | undefined, path: string[]): FieldNode | null {
  const operation = document.definitions.find(
    (definition) => definition.kind === Kind.OPERATION_DEFINITION && (!operationName || definition.name?.value === operationName),
  )
  if (operation?.kind !== Kind.OPERATION_DEFINITION || operation.operation !== 'query') return null
  const find = (set: SelectionSetNode | undefined, name: string): FieldNode | null => {
    for (const selection of set?.selections ?? []) {
      if (selection.kind === Kind.FIELD) {
        if ((selection.alias ?? selection.name).value === name) return selection
        continue
      }
      const inner =
        selection.kind === Kind.INLINE_FRAGMENT
          ? selection
          : document.definitions.find((d) => d.kind === Kind.FRAGMENT_DEFINITION && d.name.value === selection.name.value)
      const found = inner && find((inner as FragmentDefinitionNode).selectionSet, name)
      if (found) return found
    }
    return null
  }
  let field: FieldNode | null = null
  for (const name of path) {
    field = find(field?.selectionSet ?? operation.selectionSet, name)
    if (!field) return null
  }
  return field
}

/** All pages so far as one answer. */
interface Loaded {
  answer: Result
  rows: number
  total?: number
}

/** loadPages yields after each page. */
export async function* loadPages(pages: Pages, path: string[], headers: Headers, signal: AbortSignal): AsyncGenerator<Loaded> {
  let all: { answer: Result; connection: Connection } | null = null
  for (let cursor: string | null = null; ; ) {
    const answer: Result = await query(pages.at(cursor), headers, signal)
    if (answer.errors) throw new Error(answer.errors[0].message)
    const connection = path.reduce((value: any, name) => value?.[name], answer.data) as Connection | undefined
    if (!connection) throw new Error(`${path.join('.')} is null`)
    if (all) {
      all.connection.nodes?.push(...(connection.nodes ?? []))
      all.connection.edges?.push(...(connection.edges ?? []))
      all.connection.pageInfo = connection.pageInfo
    } else {
      all = { answer, connection }
    }
    yield { answer: all.answer, rows: (all.connection.nodes ?? all.connection.edges)?.length ?? 0, total: connection.totalCount }
    const next: string | null = connection.pageInfo?.hasNextPage ? (connection.pageInfo.endCursor ?? null) : null
    if (next === null || next === cursor) return
    cursor = next
  }
}
