import { cacheExchange, Client, fetchExchange } from '@urql/core'
import { retryExchange } from '@urql/exchange-retry'
import { base, headers } from './session.js'

export const client = new Client({
  url: `${base}/graphql`,
  fetch: async (url, options) => fetch(url, { ...options, headers: { ...options.headers, ...await headers() } }),
  fetchSubscriptions: true, // server-sent events
  exchanges: [cacheExchange, retryExchange({ retryIf: error => Boolean(error.networkError) }), fetchExchange],
})
