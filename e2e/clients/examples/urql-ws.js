import { cacheExchange, Client, fetchExchange, subscriptionExchange } from '@urql/core'
import { retryExchange } from '@urql/exchange-retry'
import { socket } from './graphql-ws.js'
import { base, headers } from './session.js'

export const client = new Client({
  url: `${base}/graphql`,
  fetch: async (url, options) => fetch(url, { ...options, headers: { ...options.headers, ...await headers() } }),
  exchanges: [
    cacheExchange,
    retryExchange({ retryIf: error => Boolean(error.networkError) }),
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query = '', variables }) => ({
        subscribe: sink => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
      }),
    }),
  ],
})
