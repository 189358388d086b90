import { useApolloClient } from '@apollo/client/react'
import { type ReactNode, useEffect, useRef, useState } from 'react'
import { Button } from 'react-aria-components'
import { ConflictChoice } from './Conflict'
import { EditForm } from './EditForm'
import { type Change, contactUnits, emergencyUnits, textOf, type Unit, type Values, valuesOf } from './fields'
import { PatientDocument, type ProfileFragment } from './generated/operations'
import { Outcome } from './Outcome'
import { Panel } from './Panel'
import { type Conflict, type Save, useContactSave, useProfileSave } from './save'
import { Settlement } from './Settlement'
import { forget, useUnsettled } from './unsettled'
import { useWords } from './words'

interface Rights {
  patient: ProfileFragment
  writes: boolean // the role may, unless something is about the record
  mayEdit: boolean
  alone: boolean // the only record of who looks at it
  shown: boolean // to this role at all
}

// An Attempt is an edit under way: what it is based on, what is typed, what was sent.
interface Attempt {
  base: ProfileFragment
  typed?: Values
  change?: Change
  conflict?: Conflict
}

export function ContactCard(rights: Rights) {
  const t = useWords()
  const { patient } = rights
  const save = useContactSave(patient.id)
  const unsettled = useUnsettled().filter(({ patientId }) => patientId === patient.id)
  return (
    <Card {...rights} title={t.contact} units={contactUnits} save={save} busy={unsettled.some(one => one.operationId && one.settled !== 'APPLIED')}
      notices={edit => unsettled.map(one => one.operationId
        ? <Settlement key={`${one.idempotencyKey} ${t.lang}`} change={{ ...one, operationId: one.operationId }}
            onEditAgain={(asked, conflict) => {
              forget(one.idempotencyKey)
              edit(asked && { ...asked, base: conflict ? asked.base : patient, conflict })
            }} />
        : !save.sending && !save.error && <Panel key={one.idempotencyKey} tone="wait" title={t.unanswered}>
            <p>{t.unansweredText}</p>
            <Button className="button" onPress={() => forget(one.idempotencyKey)}>{t.understood}</Button>
          </Panel>)}>
      {contactUnits.map(unit => <div key={unit}><dt>{t.fields[unit]}</dt><dd>{textOf(unit, patient) || <em>{t.none}</em>}</dd></div>)}
    </Card>
  )
}

export function EmergencyCard(rights: Rights) {
  const t = useWords()
  const contact = rights.patient.emergencyContact
  const save = useProfileSave(rights.patient.id)
  return (
    <Card {...rights} title={t.emergency} units={emergencyUnits} save={save}>
      {contact ? <>
        <div><dt>{t.fields.emergencyContact_name}</dt><dd>{contact.name}{contact.relationship && ` (${contact.relationship})`}</dd></div>
        <div><dt>{t.fields.emergencyContact_phone}</dt><dd>{contact.phone || <em>{t.none}</em>}</dd></div>
        <div className="source"><dt className="hidden">{t.emergency}</dt><dd>{t.emergencySource[contact.source]}</dd></div>
      </> : <div><dt className="hidden">{t.emergency}</dt><dd><em>{t.none}</em></dd></div>}
    </Card>
  )
}

interface Props extends Rights {
  title: string
  units: Unit[]
  save: Save
  busy?: boolean // an earlier change is not settled, or its panel offers to edit again
  notices?(edit: (attempt?: Omit<Attempt, 'typed'>) => void): ReactNode
  children: ReactNode
}

function Card({ patient, writes, mayEdit, alone, shown, title, units, save, busy, notices, children }: Props) {
  const t = useWords()
  const [attempt, setAttempt] = useState<Attempt | null>(null)
  const client = useApolloClient()
  const editButton = useRef<HTMLButtonElement>(null)
  const [kept, setKept] = useState(false) // what others saved, and nothing of this attempt
  const [returning, setReturning] = useState(false)
  useEffect(() => {
    if (returning) editButton.current?.focus()
    setReturning(false)
  }, [returning])

  function edit(from?: Omit<Attempt, 'typed'>) {
    // That a change of somebody else is on its way is not told: so it is asked for.
    client.query({ query: PatientDocument, variables: { id: patient.id }, fetchPolicy: 'network-only' }).catch(() => {})
    save.reset()
    setKept(false)
    const base = from?.base ?? patient
    setAttempt({ ...from, base, typed: from?.change && { ...valuesOf(base, units), ...typedOf(from.change, units) } })
  }
  function close() {
    save.reset()
    setAttempt(null)
    setReturning(true)
  }
  async function send(next: Attempt & { change: Change }) {
    setAttempt(next)
    const answer = await save.send(next.change, next.base)
    if (answer?.__typename.endsWith('Success') || (answer?.__typename === 'FhirUnavailable' && answer.applied === 'UNKNOWN')) setAttempt(null)
    else if (answer?.__typename === 'FhirRejected' && answer.code === 'FHIR_NOT_APPLIED') { // a part may be saved: go on from there
      setAttempt({ base: answer.patient, typed: { ...valuesOf(answer.patient, units), ...typedOf(next.change, units) } })
    } else if (answer?.__typename === 'UpdateConflict' && !answer.retryable && answer.current) setAttempt({ ...next, conflict: answer })
  }
  function resolve(change: Change) {
    const base = attempt!.conflict!.current!
    if (Object.keys(change).length === 0) {
      save.reset()
      setAttempt(null)
      setKept(true)
      return
    }
    void send({ base, change, typed: { ...valuesOf(base, units), ...typedOf(change, units) } })
  }

  const { answer } = save
  return (
    <section className="card" aria-label={title}>
      <header>
        <h2>{title}</h2>
        {mayEdit && !attempt && !busy && <Button ref={editButton} className="button" aria-label={t.edit(title)} onPress={() => edit()}>{t.editShort}</Button>}
      </header>
      <div aria-live="polite">{notices?.(edit)}</div>
      {!attempt && answer?.__typename.endsWith('Success') && <Outcome answer={answer} asked={save.asked} focus lang={save.language} />}
      {kept && <Panel tone="bad" title={t.keptTheirs} focus />}
      {attempt?.conflict?.current && attempt.change && <ConflictChoice key={attempt.conflict.operationId}
        base={attempt.base} current={attempt.conflict.current} change={attempt.change} conflicting={attempt.conflict.conflictingFields}
        sending={save.sending} onResolve={resolve} onCancel={close} />}
      {attempt && !attempt.conflict && <EditForm key={attempt.base.version} base={attempt.base} typed={attempt.typed} units={units} save={save}
        mayEdit={mayEdit} fill={alone} pending={patient.syncState === 'PENDING'} changedMeanwhile={attempt.base.version !== patient.version} onCancel={close}
        onSend={(change, typed) => void send({ base: attempt.base, change, typed })} />}
      {!attempt && (shown ? <dl className="values">{children}</dl> : <p>{t.notShown}</p>)}
      {!attempt && shown && !writes && <p className="help">{t.mayNotEdit}</p>}
    </section>
  )
}

// typedOf brings a change back into the form.
function typedOf(change: Change, units: Unit[]): Values {
  const record = Object.fromEntries(units.filter(unit => unit in change).map(unit => [unit, change[unit]]))
  const { address } = change
  const whole = { ...record, address: address && { ...address, lines: address.lines ?? [] } } as unknown as ProfileFragment
  return valuesOf(whole, Object.keys(record) as Unit[])
}
