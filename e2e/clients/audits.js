// Every audit of graphql-http, the optional ones too.
import { serverAudits } from 'graphql-http'
import { headers, url } from './scenario.js'

const fetchFn = (url, init) => fetch(url, { ...init, headers: { ...init?.headers, ...headers } })

let failed = 0
for (const audit of serverAudits({ url, fetchFn })) {
  const result = await audit.fn()
  if (result.status === 'ok') continue
  failed++
  console.error(`${audit.id} ${audit.name}: ${result.status}, ${result.reason}`)
}
if (failed) throw new Error(`${failed} audits failed`)
