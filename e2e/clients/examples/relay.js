import relay from 'relay-runtime'
import { socket } from './graphql-ws.js'
import { base, headers } from './session.js'

async function fetchOperation({ id, text }, variables) { // without a text the compiler has persisted it
  const response = await fetch(`${base}/graphql`, {
    method: 'POST',
    headers: {
      ...await headers(),
      'Content-Type': 'application/json',
      Accept: 'application/graphql-response+json; charset=utf-8, application/json; charset=utf-8',
    },
    body: JSON.stringify(text ? { query: text, variables } : { doc_id: id, variables }),
  })
  return response.json()
}

function subscribe({ id, text }, variables) {
  return relay.Observable.create(sink => socket.subscribe(text
    ? { query: text, variables }
    : { query: '', variables, extensions: { persistedQuery: { version: 1, sha256Hash: id } } }, sink))
}

export const environment = new relay.Environment({
  network: relay.Network.create(fetchOperation, subscribe),
  store: new relay.Store(new relay.RecordSource()),
})
