// Relay: its compiler, Babel plugin and runtime; subscriptions over graphql-ws.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { transformFileSync } from '@babel/core'
import { createClient } from 'graphql-ws'
import relay from 'relay-runtime'
import WebSocket from 'ws'
import { base, headers, own, scenario, url, websocketURL } from './scenario.js'

writeFileSync('schema.graphql', await (await fetch(`${base}/schema.graphql`, { headers })).text())
execFileSync(process.execPath, ['node_modules/relay-compiler/cli.js'], { stdio: 'pipe' })
writeFileSync('relay/built.js', transformFileSync('relay/operations.js', { plugins: ['relay'] }).code)
const operations = createRequire(import.meta.url)('./relay/built.js')

const ws = createClient({ url: websocketURL, webSocketImpl: WebSocket, connectionParams: headers })
const environment = new relay.Environment({
  network: relay.Network.create(
    async ({ text: query }, variables) => {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          ...headers,
          'Content-Type': 'application/json',
          Accept: 'application/graphql-response+json; charset=utf-8, application/json; charset=utf-8',
        },
        body: JSON.stringify({ query, variables }),
      })
      return response.json()
    },
    ({ name: operationName, text: query }, variables) =>
      relay.Observable.create(sink => ws.subscribe({ operationName, query, variables }, sink)),
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
