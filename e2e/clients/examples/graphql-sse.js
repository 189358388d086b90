import { createClient } from 'graphql-sse'
import { base, headers } from './session.js'

export const sse = createClient({ url: `${base}/graphql`, headers })
