import { useReactiveVar } from '@apollo/client/react'
import { useForm } from 'react-hook-form'
import { Button, Form, Input, Label, Text, TextField } from 'react-aria-components'
import { signIn } from './account'
import { signIns } from './config'
import { PageTitle } from './PageTitle'
import { Panel } from './Panel'
import { refusedVar } from './session'
import { useWords } from './words'

export function SignIn() {
  const t = useWords()
  const refused = useReactiveVar(refusedVar)
  const { register, handleSubmit } = useForm<{ token: string }>()
  return (
    <div className="sign-in">
      <PageTitle title={t.signInTitle} />
      <div role="status">{refused && <Panel page tone="wait" title={t.signedOut}><p>{t.signInRefused}</p></Panel>}</div>
      {signIns.length > 0 && <>
        <p>{t.signInDemo}</p>
        <ul className="roles">
          {signIns.map(({ role, patient, token }) => {
            const [name, what] = t.roles[role] ?? [role, '']
            return (
              <li key={role}>
                <Button className="role" onPress={() => signIn(token)}>
                  <strong>{name}{patient && <small> {patient}</small>}</strong><span>{what}</span>
                </Button>
              </li>
            )
          })}
        </ul>
      </>}
      <Form className="edit" onSubmit={handleSubmit(({ token }) => token.trim() && signIn(token.trim()))}>
        <TextField className="field" type="password" autoComplete="off">
          <Label>{t.signInToken}</Label>
          <Input {...register('token')} />
          <Text slot="description">{t.signInTokenHelp}</Text>
        </TextField>
        <div className="actions"><Button type="submit" className="button primary">{t.signInWithToken}</Button></div>
      </Form>
    </div>
  )
}
