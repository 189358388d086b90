import { useEffect, useState } from 'react'
import { Controller, useForm } from 'react-hook-form'
import { Button, FieldError, Form, Input, Label, Text, TextArea, TextField } from 'react-aria-components'
import { retryAfter } from './errors'
import { type Change, changeOf, fieldNamed, type Unit, type Values, valuesOf } from './fields'
import type { ProfileFragment } from './generated/operations'
import { useOnline } from './online'
import { Outcome, RequestFailed } from './Outcome'
import { useSecondsLeft } from './Panel'
import type { Save } from './save'
import { useUnsaved } from './unsaved'
import { useWords } from './words'

interface Props {
  base: ProfileFragment // what the edit is based on
  typed?: Values
  units: Unit[]
  save: Save
  mayEdit: boolean // still
  fill: boolean // the browser may fill in what it knows of who sits before it
  pending: boolean // a change is on its way
  changedMeanwhile: boolean
  onSend(change: Change, typed: Values): void
  onCancel(): void
}

const inputs: Record<string, { type?: string, inputMode?: 'email' }> = {
  phone: { type: 'tel' }, email: { type: 'text', inputMode: 'email' }, emergencyContact_phone: { type: 'tel' }, // the server alone judges them
}

// What browsers call them.
const autoComplete: Record<string, string> = {
  phone: 'tel', email: 'email', address_text: 'street-address', address_lines: 'street-address', address_postalCode: 'postal-code',
  address_city: 'address-level2', address_district: 'address-level3', address_state: 'address-level1', address_country: 'country-name',
}

export function EditForm({ base, typed, units, save, mayEdit, fill, pending, changedMeanwhile, onSend, onCancel }: Props) {
  const t = useWords()
  const [initial] = useState(() => valuesOf(base, units))
  const { control, getValues, handleSubmit, setError, clearErrors, setFocus } = useForm<Values>({ defaultValues: typed ?? initial, shouldFocusError: false })
  const [note, setNote] = useState<'' | 'nothingChanged' | 'notSentOffline' | 'hospitalsEntry'>('') // why nothing was sent
  const hospitals = 'emergencyContact_name' in initial && base.emergencyContact?.source === 'FHIR' // which is not ours to remove
  const online = useOnline()
  const names = Object.keys(initial)
  const { answer, error, language } = save
  const gone = answer?.__typename === 'PatientNotFound' || (answer?.__typename === 'FhirRejected' && answer.code === 'FHIR_PATIENT_GONE')
  const wait = answer?.__typename === 'FhirUnavailable' && answer.retryable ? answer.retryAfterSeconds : retryAfter(error)
  const left = useSecondsLeft(wait ?? 0, answer ?? error)

  useUnsaved(() => Object.keys(changeOf(getValues(), initial, units)).length > 0)
  useEffect(() => { if (!answer) setFocus(names[0]!) }, [])
  useEffect(() => {
    const faults = answer?.__typename === 'InvalidInput' ? answer.fieldErrors : answer?.__typename === 'FhirRejected' ? answer.issues : []
    for (const { field, message } of faults) {
      if (field && shownBeside(field)) setError(fieldOf(field), { type: 'server', message })
    }
  }, [answer])

  // A complaint about an address as a whole stands at its first field.
  const fieldOf = (path: string[]) => names.find(name => name === fieldNamed(path)) ?? names.find(name => name.startsWith(`${path[0]}_`)) ?? ''
  const shownBeside = (path: string[]) => fieldOf(path) !== ''

  const submit = handleSubmit(values => {
    if (!mayEdit || gone) return // Enter in a field
    clearErrors()
    const change = changeOf(values, initial, units)
    const reason = Object.keys(change).length === 0 ? 'nothingChanged'
      : hospitals && change.emergencyContact === null ? 'hospitalsEntry'
      : navigator.onLine ? '' : 'notSentOffline'
    setNote(reason)
    if (!reason) onSend(change, values)
  })
  return (
    <Form className="edit" onSubmit={submit} validationBehavior="aria">
      {answer && !save.sending && <Outcome answer={answer} focus lang={language} shownBeside={shownBeside} />}
      {error && !save.sending && <RequestFailed error={error} write focus />}
      <div role="status">
        {pending && !answer && !save.sending && <p className="note">{t.sync.PENDING![1]}</p>}
        {changedMeanwhile && mayEdit && !save.sending && !error && answer?.__typename !== 'UpdateConflict' && <p className="note">{t.changedMeanwhile}</p>}
        {note && <p className="note">{note === 'notSentOffline' && online ? t.backOnline : t[note]}</p>}
      </div>
      {names.map(name => (
        <Controller key={name} name={name} control={control} render={({ field: { ref, ...field }, fieldState }) => (
          <TextField {...field} className={`field ${name}`} isInvalid={fieldState.invalid} isReadOnly={save.sending} validationBehavior="aria"
            autoComplete={fill && autoComplete[name] || 'off'} {...inputs[name]}>
            <Label>{t.fields[name]}</Label>
            {name === 'address_lines' || name === 'address_text' ? <TextArea ref={ref} rows={2} /> : <Input ref={ref} />}
            {name === 'address_lines' && <Text slot="description">{t.linesHelp}</Text>}
            <FieldError><span lang={language}>{fieldState.error?.message}</span></FieldError>
          </TextField>
        )} />
      ))}
      <p className="help">{hospitals ? t.hospitalsHelp : t.clearHelp}</p>
      <div className="actions">
        {mayEdit && !gone && <Button type="submit" className="button primary" isDisabled={save.sending || left > 0}>{left > 0 ? t.tryAgainIn(left) : t.save}</Button>}
        <Button className="button" onPress={onCancel} isDisabled={save.sending}>{t.cancel}</Button>
      </div>
      <p role="status" className="saving">{save.sending ? t.saving : ''}</p>
    </Form>
  )
}
