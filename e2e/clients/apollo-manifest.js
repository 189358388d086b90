// Apollo Client 4 against a server that accepts the manifest's operations alone.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from '@apollo/client'
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries'
import { generatePersistedQueryIdsFromManifest } from '@apollo/persisted-query-lists'
import { runApollo } from './apollo-run.js'
import { base, headers, url } from './scenario.js'

const { possibleTypes } = await (await fetch(`${base}/possibleTypes.json`, { headers })).json()
const link = ApolloLink.from([
  new PersistedQueryLink(generatePersistedQueryIdsFromManifest({
    loadManifest: () => JSON.parse(readFileSync('persisted-query-manifest.json')),
  })),
  new HttpLink({
    uri: url,
    headers,
    fetch(uri, options) {
      assert.equal(JSON.parse(options.body).query, undefined) // ids alone leave for the server
      return fetch(uri, options)
    },
  }),
])
await runApollo(new ApolloClient({ link, cache: new InMemoryCache({ possibleTypes }) }))

const unlisted = await fetch(url, {
  method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body: '{"query": "{ viewer { role } }"}',
})
const { data, errors } = await unlisted.json()
assert.ok(!data && errors[0].message.includes('TRUSTED_DOCUMENTS'), JSON.stringify(errors))
