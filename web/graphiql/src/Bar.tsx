import { useGraphiQL, useGraphiQLActions } from '@graphiql/react'
import { useEffect, useState, type FormEvent } from 'react'
import { createPortal } from 'react-dom'
import type { Session } from './App'
import { config, withTitle, type Example } from './config'
import { Said, useSaid } from './Said'
import { sharedQuery, shareLink } from './share'
import { useTexts, type Lang } from './texts'

interface Props {
  element: HTMLElement // stands before GraphiQL, which knows the store that the bar needs
  lang: Lang
  setLang(lang: Lang): void
  token: string
  /** mayPaste reports whether a token may take the place of the one that is there; if not, the session says why. */
  mayPaste(token: string): Promise<boolean>
  signIn(token: string): void
  signOut(): void
  session: Session
  hasSchema: boolean
}

export function Bar({ element, lang, setLang, token, mayPaste, signIn, signOut, session, hasSchema }: Props) {
  const t = useTexts()
  const queryEditor = useGraphiQL((state) => state.queryEditor)
  useEffect(() => queryEditor?.updateOptions({ wordWrap: 'on' }), [queryEditor]) // for phones, and long comments
  const [said, say] = useSaid()
  useEffect(() => say(''), [session, lang])
  return createPortal(
    <>
      <h1>PatientGraph</h1>
      <Examples lang={lang} />
      <SignIn token={token} mayPaste={mayPaste} signIn={signIn} signOut={signOut} />
      <Share say={say} />
      <label>
        <span className="hidden-text">{t.language}</span>
        <select value={lang} onChange={(event) => setLang(event.target.value as Lang)}>
          <option value="en">English</option>
          <option value="ko">한국어</option>
        </select>
      </label>
      <Said room={t.shared} className={!said && isWrong(session) ? 'session wrong' : 'session'}>
        {said || <SessionText session={session} hasSchema={hasSchema} />}
      </Said>
    </>,
    element,
  )
}

const isWrong = (session: Session) => session.state === 'refused' || session.state === 'unreachable' || (session.state === 'in' && session.notTaken !== undefined)

function SessionText({ session, hasSchema }: { session: Session; hasSchema: boolean }) {
  const t = useTexts()
  switch (session.state) {
    case 'none':
      if (config.signIns.length > 0) return t.chooseRole
      return hasSchema ? t.noToken : t.noTokenNoSchema
    case 'checking':
      return t.checking
    case 'refused':
      return t.refused(session.reason)
    case 'unreachable':
      return t.unreachable(session.reason)
    case 'in':
      const whose = `${t.signedIn(t.roles[session.role] ?? session.role)} ${t.may[session.role] ?? ''}`
      return session.notTaken ? `${t.notTaken(session.notTaken)} ${whose}` : whose
  }
}

function SignIn({ token, mayPaste, signIn, signOut }: Pick<Props, 'token' | 'mayPaste' | 'signIn' | 'signOut'>) {
  const t = useTexts()
  const { stop } = useGraphiQLActions()
  const forgetAnswers = useForgetAnswers()
  const become = (token: string) => {
    stop() // a subscription goes on with the token that it began with
    forgetAnswers()
    if (token) signIn(token)
    else signOut()
  }
  const [typed, setTyped] = useState('')
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    const pasted = typed.trim().replace(/^Bearer\s+/i, '')
    setTyped('')
    if (await mayPaste(pasted)) become(pasted)
  }
  return (
    <div className="sign-in">
      {config.signIns.length > 0 && (
        <div role="group" aria-label={t.signInAs} className="choice">
          {config.signIns.map((offered) => (
            <button
              key={offered.token}
              type="button"
              aria-pressed={token === offered.token}
              title={t.may[offered.role]}
              onClick={() => become(offered.token)}
            >
              {t.roles[offered.role] ?? offered.role} {offered.patient}
            </button>
          ))}
        </div>
      )}
      <form onSubmit={submit}>
        {/* Not a password field: browsers would offer to keep it. */}
        <input
          className="token"
          aria-label={t.token}
          placeholder={t.token}
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
          autoComplete="off"
          spellCheck={false}
        />
        <button disabled={!typed.trim()}>{t.use}</button>
      </form>
      {token && (
        <button type="button" onClick={() => become('')}>
          {t.signOut}
        </button>
      )}
    </div>
  )
}

/** useForgetAnswers empties the results of every tab, whose queries stay: they were another's to see. */
function useForgetAnswers() {
  const { updateActiveTabValues } = useGraphiQLActions()
  const { tabs, responseEditor } = useGraphiQL(({ tabs, responseEditor }) => ({ tabs, responseEditor }))
  return () => {
    for (const tab of tabs) tab.response = null // GraphiQL changes the active tab alone
    responseEditor?.setValue('')
    updateActiveTabValues({ response: null })
  }
}

/** useOpen opens a query in a tab of its own, or the tab that it has. */
function useOpen() {
  const { addTab, changeTab } = useGraphiQLActions()
  const { tabs, queryEditor, variableEditor } = useGraphiQL(({ tabs, queryEditor, variableEditor }) => ({ tabs, queryEditor, variableEditor }))
  return ({ query, variables }: { query: string; variables: string }) => {
    const opened = tabs.findIndex((tab) => tab.query === query)
    if (opened >= 0) {
      changeTab(opened)
    } else {
      addTab()
      queryEditor?.setValue(query)
      variableEditor?.setValue(variables)
    }
    // GraphiQL has no other way to show the pane.
    if (variables) document.querySelector<HTMLElement>('.graphiql-editor-tools [data-name=variables]')?.click()
  }
}

/** useLang keeps the title of an example, where nobody has changed it, in the page's language. */
function useLang(lang: Lang) {
  const queryEditor = useGraphiQL((state) => state.queryEditor)
  const tab = useGraphiQL(({ tabs, activeTabIndex }) => tabs[activeTabIndex].id)
  useEffect(() => {
    const other = lang === 'ko' ? 'en' : 'ko'
    const example = config.examples.find((example) => withTitle(example, other) === queryEditor?.getValue())
    if (example) queryEditor?.setValue(withTitle(example, lang))
  }, [lang, tab, queryEditor])
}

function Examples({ lang }: { lang: Lang }) {
  const t = useTexts()
  const open = useOpen()
  useLang(lang)
  if (config.examples.length === 0) return null
  const choose = (example: Example) => open({ query: withTitle(example, lang), variables: example.variables })
  return (
    <label>
      <span className="hidden-text">{t.examples}</span>
      <select className="examples" value="" onChange={(event) => choose(config.examples.find(({ name }) => name === event.target.value)!)}>
        <option value="" disabled>
          {t.examples}…
        </option>
        {(['analysts', 'developers'] as const).map((group) => (
          <optgroup key={group} label={t[group]}>
            {config.examples
              .filter((example) => example.group === group)
              .map((example) => (
                <option key={example.name} value={example.name}>
                  {lang === 'ko' ? example.titleKo : example.title}
                </option>
              ))}
          </optgroup>
        ))}
      </select>
    </label>
  )
}

function Share({ say }: { say(text: string): void }) {
  const t = useTexts()
  const queryEditor = useGraphiQL((state) => state.queryEditor) // the tab's own text comes later
  const open = useOpen()
  useEffect(() => {
    // A link was put into the address bar: the page stays.
    const follow = () => {
      const shared = sharedQuery()
      if (shared) open(shared)
    }
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  })
  const share = async () => {
    const link = shareLink(queryEditor?.getValue() ?? '')
    history.replaceState(null, '', link) // the address bar has it too, where copying is not allowed
    say(await navigator.clipboard.writeText(link).then(() => t.shared, () => t.notCopied))
  }
  return (
    <button type="button" onClick={share}>
      {t.share}
    </button>
  )
}
