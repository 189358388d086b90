// Apollo Client 4: retries, persisted queries by GET, errors, possible types; subscriptions
// over graphql-ws, then by its multipart protocol over HTTP.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
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
let offline = true // the first request is lost
const http = new HttpLink({
  uri: url,
  headers,
  fetch(uri, options) {
    if (offline) {
      offline = false
      return Promise.reject(new TypeError('fetch failed'))
    }
    sent.push(options.method === 'GET' ? decodeURIComponent(uri) : options.body)
    return fetch(uri, options)
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
assert.equal(offline, false)
assert.match(sent[0], /^http.*sha256Hash/) // the hash alone, by GET
assert.doesNotMatch(sent[0], /query=/)
assert.deepEqual(codes, ['PERSISTED_QUERY_NOT_FOUND'].filter(code => codes.includes(code)))

const client = await run(http)
sent.length = 0
await client.query({ query: documents.Patient, variables: { id: own }, fetchPolicy: 'network-only' })
assert.equal(sent.length, 1) // the server knows it by now

codes.length = 0
await assert.rejects(client.query({ query: gql`{ patient(id: "1") { shoeSize } }` }), CombinedGraphQLErrors)
assert.ok(codes.includes('GRAPHQL_VALIDATION_FAILED'), String(codes))

const stranger = new ApolloClient({ link: new HttpLink({ uri: url }), cache: new InMemoryCache() })
await assert.rejects(stranger.query({ query: documents.Patient, variables: { id: own } }), error =>
  CombinedGraphQLErrors.is(error) && error.errors[0].extensions.code === 'UNAUTHENTICATED')
