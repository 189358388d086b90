import type { AddressInput, EmergencyContactInput, ProfileFragment } from './generated/operations'

// A form holds texts, by names as the server's paths have them: phone, address_lines.
export type Values = Record<string, string>

// A Change holds what is asked for: left out stays, null clears.
export interface Change {
  phone?: string | null
  email?: string | null
  address?: AddressInput | null
  emergencyContact?: EmergencyContactInput | null
}

// Units are changed, and conflict, as a whole.
export type Unit = keyof Change
export const contactUnits: Unit[] = ['phone', 'email', 'address']
export const emergencyUnits: Unit[] = ['emergencyContact']

const addressParts = ['postalCode', 'city', 'district', 'state', 'country'] as const

export function valuesOf(patient: ProfileFragment, units: Unit[]): Values {
  const { address, emergencyContact } = patient
  const values: Values = {}
  for (const unit of units) {
    switch (unit) {
      case 'address':
        if (address?.text && !address.lines.length && !addressParts.some(part => address[part])) {
          values.address_text = address.text // the record has no parts: keep it so
          break
        }
        values.address_lines = address?.lines.join('\n') ?? ''
        for (const part of addressParts) values[`address_${part}`] = address?.[part] ?? ''
        break
      case 'emergencyContact':
        values.emergencyContact_name = emergencyContact?.name ?? ''
        values.emergencyContact_relationship = emergencyContact?.relationship ?? ''
        values.emergencyContact_phone = emergencyContact?.phone ?? ''
        break
      default:
        values[unit] = patient[unit] ?? ''
    }
  }
  return values
}

// fieldNamed turns the server's path into a name of the form: of address.lines.0 too.
export const fieldNamed = (path: string[]) => path.slice(0, 2).join('_')

// changeOf asks for the units that were edited, and for no other.
export function changeOf(values: Values, initial: Values, units: Unit[]): Change {
  const change: Change = {}
  for (const unit of units) {
    const names = Object.keys(initial).filter(name => name === unit || name.startsWith(`${unit}_`))
    if (!names.some(name => values[name] !== initial[name])) continue
    const cleared = names.every(name => !values[name]!.trim())
    Object.assign(change, { [unit]: cleared ? null : inputOf(unit, values) })
  }
  return change
}

function inputOf(unit: Unit, values: Values): Change[Unit] {
  switch (unit) {
    case 'address': {
      if (values.address_text !== undefined) return { text: values.address_text }
      const lines = values.address_lines!.split('\n').filter(line => line.trim())
      const parts = addressParts.map(part => [part, values[`address_${part}`]]).filter(([, value]) => value)
      return { lines, ...Object.fromEntries(parts) }
    }
    case 'emergencyContact':
      return {
        name: values.emergencyContact_name!,
        relationship: values.emergencyContact_relationship || null,
        phone: values.emergencyContact_phone || null,
      }
    default:
      return values[unit]!
  }
}

// textOf shows a unit of a record, or of a change. An address is written out of its parts,
// which hold all that its text does (FHIR, Address.text); in Korea the largest comes first.
export function textOf(unit: Unit, record: Pick<Change, Unit>): string {
  const value = record[unit]
  if (!value) return ''
  if (typeof value === 'string') return value
  if ('name' in value) return [value.name, value.relationship, value.phone].filter(Boolean).join(' · ')
  const { text, lines = [], city, district, state, postalCode, country } = value as AddressInput
  const street = lines!.join(', ')
  const whole = /\p{Script=Hangul}/u.test([street, city, district, state].join())
    ? [state, city, district, street].filter(Boolean).join(' ')
    : [street, district, city, state].filter(Boolean).join(', ')
  return [whole, postalCode, country].filter(Boolean).join(' · ') || text!
}
