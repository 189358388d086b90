import { useQuery, useReactiveVar, useSubscription } from '@apollo/client/react'
import { Button } from 'react-aria-components'
import { type Change, textOf, type Unit } from './fields'
import { ContactUpdateDocument, ContactUpdateSettledDocument, type ProfileFragment } from './generated/operations'
import { Outcome, RequestFailed, Values } from './Outcome'
import { Panel } from './Panel'
import type { Conflict } from './save'
import { languageVar, tokenVar } from './session'
import { forget, remember, type Unsettled } from './unsettled'
import { useWords } from './words'

interface Props {
  change: Unsettled & { operationId: string }
  onEditAgain(asked?: { change: Change, base: ProfileFragment }, conflict?: Conflict): void
}

// Settlement waits for the end of a change whose outcome is not known, and tells it.
export function Settlement({ change, onEditAgain }: Props) {
  const t = useWords()
  const language = useReactiveVar(languageVar)
  const signedIn = useReactiveVar(tokenVar) !== null
  const { data, error } = useSubscription(ContactUpdateSettledDocument, {
    variables: { operationId: change.operationId },
    skip: !signedIn,
    onData: ({ client, data }) => {
      remember({ ...change, settled: data.data?.contactUpdateSettled.state })
      client.refetchQueries({ include: ['Patient'] }).catch(() => {}) // that syncState alone has changed is not told
    },
  })
  const settled = data?.contactUpdateSettled
  const { data: told, error: untold, refetch } = useQuery(ContactUpdateDocument, {
    variables: { operationId: change.operationId },
    skip: !settled,
    fetchPolicy: 'no-cache', // the record of then must not replace the record of now
  })
  const result = told?.contactUpdate?.result
  const close = <Button className="button" onPress={() => forget(change.idempotencyKey)}>{t.close}</Button>
  const asked = change.asked && <>
    <p>{t.asked}:</p>
    <ul>{(Object.keys(change.asked.change) as Unit[]).map(unit =>
      <li key={unit}>{t.fields[unit]}: {textOf(unit, change.asked!.change) || t.removed}</li>)}</ul>
  </>
  const again = (conflict?: Conflict) => <div className="again" lang={t.lang}>
    {asked || <p>{t.typedIsGone}</p>}
    <div className="actions">
      <Button className="button primary" onPress={() => onEditAgain(change.asked, conflict)}>{asked ? t.editAgain : t.typeAgain}</Button>
      {close}
    </div>
  </div>
  if (error && signedIn) return <Panel tone="wait" title={t.cannotWatch}><p>{t.cannotWatchText}</p>{close}</Panel>
  if (untold) return <RequestFailed error={untold} retry={() => void refetch().catch(() => {})} />
  const state = settled?.state
  if (state === 'APPLIED' && told) {
    return <Panel tone="good" title={t.settledApplied}>
      {result?.__typename === 'UpdatePatientContactSuccess'
        ? <Values asked={change.asked?.change ?? {}} patient={result.patient}>{t.settledAppliedText}</Values>
        : <p>{t.settledAppliedText}</p>}
      {close}
    </Panel>
  }
  if (state === 'NOT_APPLIED') return <Panel tone="bad" title={t.settledNotApplied}><p>{t.settledNotAppliedText}</p>{again()}</Panel>
  if (result) { // refused, or somebody else's change stood in the way
    return <Outcome answer={result} lang={language}>{again(result.__typename === 'UpdateConflict' && !result.retryable ? result : undefined)}</Outcome>
  }
  return (
    <Panel tone="wait" title={t.unknown}>
      <p>{t.unknownText}</p>
      {asked}
      <p className="operation">{t.operation} <code>{change.operationId}</code></p>
    </Panel>
  )
}
