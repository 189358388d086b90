// Apollo Client 4: retries, persisted queries by GET, errors, possible types; subscriptions
// by its multipart protocol over HTTP, then over graphql-ws.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { ApolloClient, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from '@apollo/client'
import { runApollo } from './apollo-run.js'
import { client } from './examples/apollo.js'
import { socket } from './examples/graphql-ws.js'
import { documents, own, url } from './scenario.js'

const sent = [] // what left for the server
let lose = false // the next answer
let lost
const send = globalThis.fetch
globalThis.fetch = async (uri, options) => {
  sent.push(options.method === 'GET' ? decodeURIComponent(uri) : options.body)
  const answer = await send(uri, options)
  if (!lose) return answer
  lose = false
  lost = await answer.json()
  throw new TypeError('fetch failed')
}
const reported = [] // what the error link told
const say = console.error
console.error = (...words) => {
  reported.push(words.join(' '))
  say(...words)
}

await runApollo(client) // subscriptions over multipart
assert.match(sent[0], /^http.*sha256Hash/) // the hash alone, by GET
assert.doesNotMatch(sent[0], /query=/)
assert.deepEqual(reported, []) // that it was not known yet is no error

sent.length = 0
await client.query({ query: documents.Patient, variables: { id: own }, fetchPolicy: 'network-only' })
assert.equal(sent.length, 1) // the server knows it by now

lose = true
const { data } = await client.mutate({
  mutation: documents.UpdateContact,
  variables: { input: { patientId: own, phone: '010-3000-0000', idempotencyKey: randomUUID() } },
})
assert.equal(data.updatePatientContact.operationId, lost.data.updatePatientContact.operationId) // sent twice, written once

await assert.rejects(client.query({ query: gql`{ patient(id: "1") { shoeSize } }` }), CombinedGraphQLErrors)
assert.match(String(reported), /shoeSize/)

const stranger = new ApolloClient({ link: new HttpLink({ uri: url }), cache: new InMemoryCache() })
await assert.rejects(stranger.query({ query: documents.Patient, variables: { id: own } }), error =>
  CombinedGraphQLErrors.is(error) && error.errors[0].extensions.code === 'UNAUTHENTICATED')

await import('./examples/apollo-ws.js') // from now on they go over a WebSocket
await client.clearStore()
await runApollo(client)
await socket.dispose()
