import { Kind, parse } from 'graphql'

// A link carries a query in its fragment, which browsers send to no server. Variables may
// hold a patient's data and are never in it.

export function shareLink(query: string): string {
  return `${location.origin}${location.pathname}#query=${encodeURIComponent(query)}`
}

/** sharedQuery is the query of the link that the page was opened by, and the variables that it wants of whoever opened it. */
export function sharedQuery(): { query: string; variables: string } | null {
  const query = new URLSearchParams(location.hash.slice(1)).get('query')
  return query === null ? null : { query, variables: missing(query) }
}

/** missing names the variables without which a query does not run, for values to be filled in. */
function missing(query: string): string {
  try {
    const needed = parse(query)
      .definitions.flatMap((d) => (d.kind === Kind.OPERATION_DEFINITION ? (d.variableDefinitions ?? []) : []))
      .filter(({ type, defaultValue }) => type.kind === Kind.NON_NULL_TYPE && !defaultValue)
    return needed.length > 0 ? JSON.stringify(Object.fromEntries(needed.map(({ variable }) => [variable.name.value, ''])), null, 2) : ''
  } catch {
    return '' // the server says what is wrong with it
  }
}
