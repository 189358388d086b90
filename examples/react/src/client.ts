import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from '@apollo/client'
import { SetContextLink } from '@apollo/client/link/context'
import { ErrorLink } from '@apollo/client/link/error'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import { relayStylePagination } from '@apollo/client/utilities'
import { OperationTypeNode } from 'graphql'
import { createClient } from 'graphql-ws'
import { endpoint } from './config'
import { codeOf } from './errors'
import generated from './generated/possibleTypes'
import { expire, languageVar, tokenVar } from './session'

const bearer = () => `Bearer ${tokenVar()}`

// One WebSocket for all subscriptions: of streams over HTTP/1.1 a browser opens six in all.
export const socket = createClient({
  url: new URL(endpoint, location.href).href.replace(/^http/, 'ws'),
  connectionParams: () => ({ Authorization: bearer() }),
  retryAttempts: Infinity,
  shouldRetry: () => tokenVar() !== null,
  on: {
    closed: event => (event as CloseEvent).code === 4403 && expire(), // the token has run out
    connected: (_socket, _payload, wasRetry) => wasRetry && refetch(), // what changed meanwhile is not told
  },
})

const http = ApolloLink.from([
  new ErrorLink(({ error, operation }) => {
    // An answer to a token that is no longer in use says nothing of the one that is.
    if (codeOf(error) === 'UNAUTHENTICATED' && operation.getContext().headers?.Authorization === bearer()) expire()
  }),
  new SetContextLink(({ headers }) => ({
    headers: { Authorization: bearer(), 'Accept-Language': languageVar(), ...headers },
  })),
  new HttpLink({ uri: endpoint }),
])

// No RetryLink: who tries a change again is told first what became of it.
export const client = new ApolloClient({
  cache: new InMemoryCache({
    possibleTypes: generated.possibleTypes,
    typePolicies: { Query: { fields: { patients: relayStylePagination(['filter', 'orderBy']) } } },
  }),
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION, new GraphQLWsLink(socket), http),
})

// refetch asks anew for all that is shown. What fails is told where it is shown.
export function refetch() {
  client.refetchObservableQueries().catch(() => {})
}
