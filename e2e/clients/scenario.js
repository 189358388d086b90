// What every client must manage. A client is three functions: query and mutate give a
// promise of an operation's data, subscribe takes an observer and returns how to stop.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { parse, print, separateOperations } from 'graphql'

export const base = process.env.SERVER
export const url = `${base}/graphql`
export const headers = { Authorization: `Bearer ${process.env.TOKEN}` }

/** The operations by name, each with its fragments. */
export const documents = separateOperations(parse(
  readdirSync('operations').map(file => readFileSync(`operations/${file}`, 'utf8')).join('')))
/** Likewise, as text. */
export const texts = Object.fromEntries(Object.entries(documents).map(([name, document]) => [name, print(document)]))

process.on('uncaughtException', error => { // a client's own holds its socket, pages long
  console.error(error?.stack ?? error?.message ?? error)
  process.exit(1)
})

// The patients that the test made: the token is of someone who looks after all but the last.
export const own = 'P-2025-000001'
const refused = 'P-2025-000003' // the FHIR server refuses every change
const away = 'P-2025-000004' // it hangs up
const missing = 'P-2025-000009'
const strangers = 'P-2025-000002'

const phone = '010-9876-5432'

export async function scenario({ query, mutate, subscribe }) {
  const { patient } = await query('Patient', { id: own })
  assert.equal(patient.fullName, '홍길동')
  const { patients } = await query('Patients', { first: 1 })
  assert.equal(patients.edges.length, 1)
  assert.equal(patients.pageInfo.hasNextPage, true)

  const operationIds = {}
  for (const [member, code, input] of [
    ['UpdatePatientContactSuccess', undefined, { patientId: own, phone: `010-1000-${patient.phone.slice(-4)}` }],
    ['UpdateConflict', 'UPDATE_CONFLICT', { patientId: own, phone, expectedVersion: patient.version }],
    ['InvalidInput', 'INVALID_INPUT', { patientId: own, email: 'no address' }],
    ['PatientNotFound', 'PATIENT_NOT_FOUND', { patientId: missing, phone }],
    ['NotPermitted', 'NOT_PERMITTED', { patientId: strangers, phone }],
    ['FhirRejected', 'FHIR_REJECTED', { patientId: refused, phone }],
    ['FhirUnavailable', 'FHIR_UNAVAILABLE', { patientId: away, phone }],
  ]) {
    const { updatePatientContact: result } = await mutate('UpdateContact', { input })
    assert.equal(result.__typename, member, JSON.stringify(result))
    assert.equal(result.code, code)
    if (code) assert.match(result.message, /./) // a fragment on the interface reaches every member
    operationIds[member] = result.operationId
  }
  const operationId = operationIds.FhirRejected
  const { contactUpdate } = await query('ContactUpdate', { operationId })
  assert.equal(contactUpdate.state, 'REJECTED')
  assert.equal(contactUpdate.result.message, 'Invalid phone format') // through the client's cache
  for (const [id, field, value] of [[own, 'id', own], [contactUpdate.id, 'state', 'REJECTED'], [strangers]]) {
    const { node } = await query('Node', { id })
    assert.equal(node?.[field], value, JSON.stringify(node))
  }

  // What has ended is told at once, and then the subscription ends by itself.
  const settled = []
  await new Promise((complete, error) =>
    subscribe('ContactUpdateSettled', { operationId }, { next: data => settled.push(data), error, complete }))
  assert.deepEqual(settled.map(data => data.contactUpdateSettled.state), ['REJECTED'])
  assert.equal(settled[0].contactUpdateSettled.result.code, 'FHIR_REJECTED')

  // No client says when the server has begun to listen: change until it tells.
  let changed, failed
  const stop = subscribe('PatientChanged', { id: own },
    { next: data => (changed ??= data.patientChanged), error: error => (failed = error), complete: () => (failed = 'it ended') })
  for (let n = 0; !changed && !failed; n++) {
    await mutate('UpdateContact', { input: { patientId: own, phone: `010-2000-${1000 + n}` } })
    await pause(200)
  }
  assert.equal(failed, undefined)
  stop()
  assert.match(changed.phone, /^010-2000-/)
}
