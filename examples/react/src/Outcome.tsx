import type { ErrorLike } from '@apollo/client'
import type { ReactNode } from 'react'
import { codeOf, mayHaveBegun, retryAfter } from './errors'
import { type Change, textOf, type Unit } from './fields'
import type { ProfileFragment } from './generated/operations'
import { Panel, RetryButton } from './Panel'
import type { Answer } from './save'
import { useWords } from './words'

interface Props {
  answer: Answer
  asked?: Change
  focus?: boolean
  lang: string
  shownBeside?: (field: string[]) => boolean // the form shows what is said of this field
  children?: ReactNode // what can be done
}

// Outcome says how a change ended: one state for each member of the union. What is not
// known yet and a conflict to resolve have components of their own.
export function Outcome({ answer, asked = {}, focus, lang, shownBeside = () => false, children }: Props) {
  const t = useWords()
  const panel = (tone: 'good' | 'bad' | 'wait', title: string, text?: ReactNode) => (
    <Panel tone={tone} title={title} focus={focus} lang={lang}>{text}{children}</Panel>
  )
  const operation = 'operationId' in answer && <p className="operation"><span lang={t.lang}>{t.operation}</span> <code>{answer.operationId}</code></p>
  switch (answer.__typename) {
    case 'UpdatePatientContactSuccess':
      return panel('good', t.saved, <div lang={t.lang}>
        {answer.patient.syncState === 'LOCAL_ONLY' ? <p>{t.savedHere}</p> : <Values asked={asked} patient={answer.patient}>{t.savedThere}</Values>}
        {answer.normalized.length > 0 && <p>{t.normalized(answer.normalized.map(field => t.fields[field] ?? field).join(', '))}</p>}
      </div>)
    case 'UpdatePatientProfileSuccess':
      return panel('good', t.saved, <p lang={t.lang}>{asked.emergencyContact !== null ? t.savedProfile : answer.patient.emergencyContact ? t.removedHere : t.removedProfile}</p>)
    case 'InvalidInput': {
      if (answer.code === 'IDEMPOTENCY_KEY_REUSED') return panel('bad', t.unavailable, <p lang={t.lang}>{t.keyReused}</p>)
      const rest = answer.fieldErrors.filter(({ field }) => !shownBeside(field))
      return panel('bad', t.invalid, rest.length > 0 && <ul>{rest.map(({ field, message }) => <li key={field.join()}>{field.join('.')}: {message}</li>)}</ul>)
    }
    case 'NotPermitted':
      return panel('bad', t.notPermitted, <p>{answer.message}</p>)
    case 'PatientNotFound':
      return panel('bad', t.patientNotFound, <p>{answer.message}</p>)
    case 'UpdateConflict':
      return answer.retryable
        ? panel('wait', t.busy, <p lang={t.lang}>{t.busyText}</p>)
        : panel('bad', t.conflict, <p>{answer.message}</p>)
    case 'FhirRejected': {
      const title = { FHIR_NOT_APPLIED: t.notApplied, FHIR_PATIENT_GONE: t.gone }[answer.code as string] ?? t.rejected
      const rest = answer.issues.filter(({ field, message }) => message !== answer.message && !(field && shownBeside(field)))
      const reason = answer.code === 'FHIR_NOT_APPLIED' ? t.recordSays : t.rejectedReason
      if (answer.patient.replacedBy) return panel('bad', title, <p lang={t.lang}>{t.seeTop}</p>) // the page says the rest
      return panel('bad', title, <>
        <p><span lang={t.lang}>{reason}:</span> <strong>{answer.message}</strong></p>
        {rest.length > 0 && <ul>{rest.map(({ message }, n) => <li key={n}>{message}</li>)}</ul>}
        {operation}
      </>)
    }
    case 'FhirUnavailable':
      return panel('wait', t.unavailable, <>
        <p lang={t.lang}>{answer.retryable ? t.unavailableText : t.unavailableOperator}</p>
        <p>{answer.message}: {answer.detail}</p>
        {operation}
        {answer.retryAfterSeconds ? <p lang={t.lang}>{t.waitFor(answer.retryAfterSeconds)}</p> : null}
      </>)
  }
}

// Values says that what was asked for is there; where a value was removed and the record had
// another, that one is shown now.
export function Values({ asked, patient, children }: { asked: Change, patient: ProfileFragment, children: string }) {
  const t = useWords()
  const units = Object.keys(asked) as Unit[]
  const next = units.filter(unit => asked[unit] === null && patient[unit])
  return (
    <>
      {(next.length < units.length || next.length === 0) && <p>{children}</p>}
      {next.map(unit => <p key={unit}>{t.removedNext(t.fields[unit]!, textOf(unit, patient))}</p>)}
    </>
  )
}

// RequestFailed is what is shown where there is no answer: an error of the request
// itself. A token that has run out is the sign-in's to say.
export function RequestFailed({ error, write, focus, retry }: { error: ErrorLike, write?: boolean, focus?: boolean, retry?(): void }) {
  const t = useWords()
  const code = codeOf(error)
  if (code === 'UNAUTHENTICATED') return null
  const seconds = retryAfter(error)
  const title = code === undefined ? t.noAnswer
    : ({ LIMIT_EXCEEDED: t.limited, UNAVAILABLE: t.databaseAway } as Record<string, string>)[code] ?? t.failed
  return (
    <Panel page={!write} tone="wait" title={title} focus={focus}>
      {code === undefined ? <p>{write ? t.noAnswerWrite : t.noAnswerRead}</p> : <p>{error.message}</p>}
      {write && code && mayHaveBegun(error) && <p>{t.retrySafe}</p>}
      {seconds ? <p>{t.waitFor(seconds)}</p> : null}
      {retry && <RetryButton seconds={seconds ?? 0} onPress={retry} />}
    </Panel>
  )
}
