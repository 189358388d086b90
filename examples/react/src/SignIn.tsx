import type { ErrorLike } from '@apollo/client'
import { useReactiveVar } from '@apollo/client/react'
import { useState } from 'react'
import { useForm } from 'react-hook-form'
import { Button, Form, Input, Label, Text, TextField } from 'react-aria-components'
import { signIn } from './account'
import { signIns } from './config'
import { codeOf } from './errors'
import { RequestFailed } from './Outcome'
import { PageTitle } from './PageTitle'
import { Panel } from './Panel'
import { expiredVar } from './session'
import { useWords } from './words'

// An Attempt is a token that the server is asked about, and how that failed.
interface Attempt {
  token: string
  error?: ErrorLike
}

export function SignIn() {
  const t = useWords()
  const expired = useReactiveVar(expiredVar)
  const { register, handleSubmit } = useForm<{ token: string }>()
  const [attempt, setAttempt] = useState<Attempt>()
  const { token, error } = attempt ?? {}
  // What no header can carry does not even leave the browser.
  const refused = codeOf(error) === 'UNAUTHENTICATED' || !/^[!-~]*$/.test(token ?? '')
  const asking = attempt !== undefined && !error

  async function enter(token: string) {
    setAttempt({ token })
    try {
      await signIn(token)
      setAttempt(undefined)
    } catch (error) {
      setAttempt({ token, error: error as ErrorLike })
    }
  }
  return (
    <div className="sign-in">
      <PageTitle title={t.signInTitle} />
      <div role="status">
        {expired && !attempt && <Panel page tone="wait" title={t.signedOut}><p>{t.signInExpired}</p></Panel>}
        {asking && t.loading}
      </div>
      {error && (refused
        ? <Panel page focus tone="bad" title={t.tokenRefused}><p>{signIns.some(one => one.token === token) ? t.reloadDemo : t.newToken}</p></Panel>
        : <RequestFailed error={error} focus retry={() => void enter(token!)} />)}
      {signIns.length > 0 && <>
        <p>{t.signInDemo}</p>
        <ul className="roles">
          {signIns.map(({ role, patient, token }) => {
            const [name, what] = t.roles[role] ?? [role, '']
            return (
              <li key={token}>
                <Button className="role" onPress={() => void enter(token)} isDisabled={asking}>
                  <strong>{name}{patient && <small> {patient}</small>}</strong><span>{what}</span>
                </Button>
              </li>
            )
          })}
        </ul>
      </>}
      <Form className="edit" onSubmit={handleSubmit(({ token }) => {
        if (asking) return
        const pasted = token.trim().replace(/^Bearer\s+/i, '')
        return pasted ? enter(pasted) : setAttempt(undefined)
      })}>
        <TextField className="field" type="password" autoComplete="off">
          <Label>{t.signInToken}</Label>
          <Input {...register('token')} />
          <Text slot="description">{t.signInTokenHelp}</Text>
        </TextField>
        <div className="actions"><Button type="submit" className="button primary" isDisabled={asking}>{t.signInWithToken}</Button></div>
      </Form>
    </div>
  )
}
