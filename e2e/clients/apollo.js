// Apollo Client 4: retries, persisted queries by GET, errors, possible types; subscriptions
// over graphql-ws, then by its multipart protocol over HTTP.
import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, gql, HttpLink, InMemoryCache } from '@apollo/client'
import { ErrorLink } from '@apollo/client/link/error'
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries'
import { RetryLink } from '@apollo/client/link/retry'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import { createClient } from 'graphql-ws'
import { runApollo } from './apollo-run.js'
import { base, documents, headers, own, url, websocketURL } from './scenario.js'

const { possibleTypes } = await (await fetch(`${base}/possibleTypes.json`, { headers })).json()

const sent = [] // what left for the server
let lose = false // the next answer
let lost
const http = new HttpLink({
  uri: url,
  headers,
  async fetch(uri, options) {
    sent.push(options.method === 'GET' ? decodeURIComponent(uri) : options.body)
    const answer = await fetch(uri, options)
    if (!lose) return answer
    lose = false
    lost = await answer.json()
    throw new TypeError('fetch failed')
  },
})
const codes = [] // what the error link saw
const links = [
  new ErrorLink(({ error }) => {
    if (CombinedGraphQLErrors.is(error)) codes.push(...error.errors.map(e => e.extensions.code))
  }),
  new RetryLink(),
  new PersistedQueryLink({
    sha256: text => createHash('sha256').update(text).digest('hex'),
    useGETForHashedQueries: true,
  }),
]
const ws = createClient({ url: websocketURL, connectionParams: headers })

const run = subscriptions => runApollo(ApolloLink.from([...links, http]), subscriptions, possibleTypes)

await run(new GraphQLWsLink(ws))
await ws.dispose()
assert.match(sent[0], /^http.*sha256Hash/) // the hash alone, by GET
assert.doesNotMatch(sent[0], /query=/)
assert.deepEqual(codes, []) // that it was not known yet is no error

const client = await run(http)
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
assert.ok(codes.includes('GRAPHQL_VALIDATION_FAILED'), String(codes))

const stranger = new ApolloClient({ link: new HttpLink({ uri: url }), cache: new InMemoryCache() })
await assert.rejects(stranger.query({ query: documents.Patient, variables: { id: own } }), error =>
  CombinedGraphQLErrors.is(error) && error.errors[0].extensions.code === 'UNAUTHENTICATED')
