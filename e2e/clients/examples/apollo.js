import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from '@apollo/client'
import { SetContextLink } from '@apollo/client/link/context'
import { ErrorLink } from '@apollo/client/link/error'
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries'
import { RetryLink } from '@apollo/client/link/retry'
import { base, headers } from './session.js'

async function sha256(text) {
  const sum = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return Array.from(new Uint8Array(sum), byte => byte.toString(16).padStart(2, '0')).join('')
}

const types = await fetch(`${base}/possibleTypes.json`, { headers: await headers() }) // or: patientgraph schema --possible-types
const { possibleTypes } = await types.json()

export const client = new ApolloClient({
  cache: new InMemoryCache({ possibleTypes }), // without them, fragments on interfaces are lost
  link: ApolloLink.from([
    new ErrorLink(({ error, operation }) => console.error(operation.operationName, error.message)),
    new RetryLink(),
    new PersistedQueryLink({ sha256, useGETForHashedQueries: true }),
    new SetContextLink(async context => ({ headers: { ...context.headers, ...await headers() } })),
    new HttpLink({ uri: `${base}/graphql` }), // subscriptions too: multipart
  ]),
})
