// What the server says to the page; nothing where Vite's own server serves it.
interface Config {
  endpoint?: string // path of /graphql
  signIns?: SignIn[] // the demo's
}

export interface SignIn {
  role: string
  patient?: string
  token: string
}

const config: Config = JSON.parse(document.getElementById('config')?.textContent || '{}')

export const endpoint = config.endpoint ?? '/graphql'
export const signIns = config.signIns ?? []
