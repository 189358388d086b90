// A link carries a query in its fragment, which browsers send to no server. Variables may
// hold a patient's data and are never in it.

export function shareLink(query: string): string {
  return `${location.origin}${location.pathname}#query=${encodeURIComponent(query)}`
}

/** sharedQuery is the query of the link that the page was opened by. */
export function sharedQuery(): { query: string; variables: string } | null {
  const query = new URLSearchParams(location.hash.slice(1)).get('query')
  return query === null ? null : { query, variables: '' }
}
