// Relay's runtime; subscriptions over graphql-ws. Documents that the compiler persisted go
// by their ids.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import relay from 'relay-runtime'
import { socket } from './examples/graphql-ws.js'
import { environment } from './examples/relay.js'
import { own, scenario } from './scenario.js'

const operations = createRequire(import.meta.url)('./relay/built.js') // by relay-compile.js

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
await socket.dispose()
