import type { Lang } from './texts'

/** What the server tells the page: config in web.go, where an empty list is null. */
interface Config {
  basePath: string
  signIns: SignIn[] | null
  examples: Example[] | null
}

/** A role of the demo and the token of somebody who has it. */
interface SignIn {
  role: string
  patient?: string
  token: string
}

export interface Example {
  name: string
  group: 'analysts' | 'developers'
  title: string
  titleKo: string
  query: string
  variables: string
}

const given: Config = JSON.parse(document.getElementById('config')!.textContent!)

/** withTitle is an example as the editor shows it. */
export const withTitle = ({ title, titleKo, query }: Example, lang: Lang) => `# ${lang === 'ko' ? titleKo : title}\n${query}`

export const config = { ...given, signIns: given.signIns ?? [], examples: given.examples ?? [] }
