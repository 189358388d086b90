import { createClient } from 'graphql-ws'
import { base, headers } from './session.js'

export const socket = createClient({
  url: `${base.replace(/^http/, 'ws')}/graphql`,
  connectionParams: headers, // asked anew for each connection
  shouldRetry: () => true, // or it gives up when no replica takes the connection at once
})
