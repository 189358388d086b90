// Relay's runtime; subscriptions over graphql-ws. Documents that the compiler persisted go
// by their ids.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { createClient } from 'graphql-ws'
import relay from 'relay-runtime'
import { headers, own, scenario, url, websocketURL } from './scenario.js'

const operations = createRequire(import.meta.url)('./relay/built.js') // by relay-compile.js

const ws = createClient({ url: websocketURL, connectionParams: headers })
const environment = new relay.Environment({
  network: relay.Network.create(
    async ({ id: doc_id, text: query }, variables) => {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          ...headers,
          'Content-Type': 'application/json',
          Accept: 'application/graphql-response+json; charset=utf-8, application/json; charset=utf-8',
        },
        body: JSON.stringify(doc_id ? { doc_id, variables } : { query, variables }),
      })
      return response.json()
    },
    ({ id: sha256Hash, text }, variables) =>
      relay.Observable.create(sink => ws.subscribe(text
        ? { query: text, variables }
        : { query: '', variables, extensions: { persistedQuery: { version: 1, sha256Hash } } }, sink)),
  ),
  store: new relay.Store(new relay.RecordSource()),
})

const query = (operation, variables) =>
  relay.fetchQuery(environment, operation, variables, { fetchPolicy: 'network-only' }).toPromise()

await scenario({
  query: (name, variables) => query(operations[name], variables),
  mutate: (name, variables) => new Promise((onCompleted, onError) =>
    relay.commitMutation(environment, { mutation: operations[name], variables, onCompleted, onError })),
  subscribe: (name, variables, { next, error, complete }) =>
    relay.requestSubscription(environment, {
      subscription: operations[name], variables, onNext: next, onError: error, onCompleted: complete,
    }).dispose,
})

const { patient } = await query(operations.Patient, { id: own })
const { refetch } = relay.getFragment(operations.refetched).metadata
const again = await query(refetch.operation, { id: patient.id })
assert.equal(relay.getSelector(operations.refetched, again.node).dataID, own) // node(id) is the patient
await ws.dispose()
