/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
import type { TypedDocumentNode as DocumentNode } from '@graphql-typed-document-node/core';
/**
 * An address. Given text alone it is kept as text; given parts replace the parts. Blanks around each
 * and invisible characters are taken out first, but for joiners that a script needs; of what has
 * nothing else the input is invalid.
 */
export type AddressInput = {
  /** City, town or village. */
  city?: string | null | undefined;
  /** Country, a code or a name. */
  country?: string | null | undefined;
  /** District or county. */
  district?: string | null | undefined;
  /** Street, house and apartment, in order. */
  lines?: Array<string> | null | undefined;
  /** Postal or ZIP code. */
  postalCode?: string | null | undefined;
  /** State or province. */
  state?: string | null | undefined;
  /** The whole address as one text. */
  text?: string | null | undefined;
};

/** Whether a write took effect on the FHIR server. */
export type Applied =
  /** Certainly not. */
  | 'NO'
  /** It may have. */
  | 'UNKNOWN';

/** Where a contact update stands. */
export type ContactUpdateState =
  /** The FHIR server shows the values. */
  | 'APPLIED'
  /** Somebody else's change stood in the way. */
  | 'CONFLICT'
  /** It never took effect. */
  | 'NOT_APPLIED'
  /** Not settled yet. */
  | 'PENDING'
  /** The FHIR server refused it or did not save all of it, or the patient is gone, merged or inactive there. */
  | 'REJECTED';

/** Whom to call in an emergency. */
export type EmergencyContactInput = {
  /** The person's name, 1 to 200 characters. */
  name: string;
  /** 1 to 64 characters. */
  phone?: string | null | undefined;
  /** At most 100 characters. */
  relationship?: string | null | undefined;
};

/** Who says whom to call. */
export type EmergencyContactSource =
  /** The FHIR server, in Patient.contact. */
  | 'FHIR'
  /** It was recorded here, by updatePatientProfile. */
  | 'LOCAL';

/** What went wrong, for programs. */
export type ErrorCode =
  /** The FHIR server refused this server's credentials: the operator must act. */
  | 'FHIR_AUTH_FAILED'
  /** The FHIR server cannot store this; nothing was sent. */
  | 'FHIR_CANNOT_APPLY'
  /** The FHIR server refuses this patient or this change to us, and shows us other patients. */
  | 'FHIR_FORBIDDEN'
  /** The FHIR server said yes but does not show the values. */
  | 'FHIR_NOT_APPLIED'
  /** The request may have reached the FHIR server; whether it took effect is not known. */
  | 'FHIR_OUTCOME_UNKNOWN'
  /** The patient is gone from the FHIR server. */
  | 'FHIR_PATIENT_GONE'
  /** The record is not active. Nothing took effect. */
  | 'FHIR_PATIENT_INACTIVE'
  /** The record was merged into another (Patient.replacedBy): change that one. Nothing took effect. */
  | 'FHIR_PATIENT_REPLACED'
  /** The FHIR server asks to slow down. */
  | 'FHIR_RATE_LIMITED'
  /** The FHIR server refused the values. */
  | 'FHIR_REJECTED'
  /** The FHIR server did not answer in time; nothing was applied. */
  | 'FHIR_TIMEOUT'
  /** The FHIR server could not be reached, is busy, or is failing. */
  | 'FHIR_UNAVAILABLE'
  /** The idempotency key was used with other content. */
  | 'IDEMPOTENCY_KEY_REUSED'
  /** A rule of ours is broken; see fieldErrors. */
  | 'INVALID_INPUT'
  /** The viewer may not do this. */
  | 'NOT_PERMITTED'
  /** No patient with this id. */
  | 'PATIENT_NOT_FOUND'
  /** The record changed meanwhile. */
  | 'UPDATE_CONFLICT';

/** Administrative gender, FHIR's AdministrativeGender. */
export type Gender =
  /** FHIR code female. */
  | 'FEMALE'
  /** FHIR code male. */
  | 'MALE'
  /** FHIR code other. */
  | 'OTHER'
  /** FHIR code unknown, or none given. */
  | 'UNKNOWN';

/**
 * Which patients; every part given must match. Patients that are not active or were merged into another
 * are left out, also of totalCount, unless includeInactive is true; deceased ones are not. Analysts cannot
 * filter by name, phone, birth date, FHIR id or identifier.
 */
export type PatientFilter = {
  /** A date, or a year or month that contains it. */
  birthDate?: string | null | undefined;
  /**
   * A changeCursor: the records that have changed since, each once, in the order of change (orderBy is
   * refused). Empty text: every record. Begin so, page to the end, and poll with the changeCursor of the
   * last record seen: none is missed, however late it was committed. Records that leave the lists (not
   * active, merged) are told with includeInactive; deleted ones are not, ask patient or patientChanged. A
   * cursor above all that were given here (of another server, or from before a backup was restored) is
   * refused: begin again with the empty text.
   */
  changedAfter?: string | null | undefined;
  /** The logical id of the Patient on the FHIR server, letter by letter. */
  fhirId?: string | null | undefined;
  /** Administrative gender. */
  gender?: Gender | null | undefined;
  /**
   * A patient number, a former one, or any other identifier of the FHIR Patient (of another hospital, of
   * an insurance): the whole value, or system|value as in a FHIR search, up to 256 characters. Letter
   * case does not matter. A number that a patient has finds that patient alone; a former number that two
   * patients claim finds neither. Among a viewer's own records those of others do not count.
   */
  identifier?: string | null | undefined;
  /** True: also patients that are not active, or were merged into another. Else they are left out. */
  includeInactive?: boolean | null | undefined;
  /**
   * Words in any order, each any part of a name, up to 200 characters. Every current and former name is
   * searched, in each script that the record has; the words may come from several of them. Case, accents,
   * width, hyphens, apostrophes and what is invisible do not matter (Mueller finds Müller); in Hangul, Han
   * and Kana a word may span family and given name, in either order.
   */
  name?: string | null | undefined;
  /**
   * A whole phone number in any format, up to 100 characters: any that the patient has now, also of work,
   * fax or text messages. Digits of any script are compared; 00 is +, and where PHONE_REGION is set the
   * national and the international form are one. An extension may be left out.
   */
  phone?: string | null | undefined;
  /** Whether the cache is known to agree with the FHIR server. */
  syncState?: SyncState | null | undefined;
  /** Changed at or after this instant. */
  updatedSince?: string | null | undefined;
};

/** The order of a list. Ties are broken by id. Analysts cannot order by name or birth date. */
export type PatientOrder =
  /** Birth date, oldest patient first; those without one first. */
  | 'BIRTH_DATE_ASC'
  /** Birth date, youngest patient first. */
  | 'BIRTH_DATE_DESC'
  /** In the order in which they entered the cache. */
  | 'CREATED_ASC'
  /** Newest in the cache first: the default. */
  | 'CREATED_DESC'
  /** Name, ascending (family name first). */
  | 'NAME_ASC'
  /** Name, descending. */
  | 'NAME_DESC'
  /** Longest unchanged first. */
  | 'UPDATED_ASC'
  /** Last changed first. */
  | 'UPDATED_DESC';

/** Whether the cache is known to agree with the FHIR server. */
export type SyncState =
  /** The patient has no FHIR id and lives in this cache only. */
  | 'LOCAL_ONLY'
  /** A write's outcome is not known yet: the FHIR server may hold newer contact values. */
  | 'PENDING'
  /**
   * The record is as the FHIR server had it, but nobody has looked within STALE_AFTER, or what it shows
   * could not be taken for that long.
   */
  | 'STALE'
  /**
   * Within STALE_AFTER the FHIR server has shown this record, or its changes were looked at and nothing
   * is noted against the record.
   */
  | 'SYNCED';

/**
 * A change of contact values. A field left out stays, null clears it, a value sets it. Null needs
 * expectedVersion or idempotencyKey (else rule clear-unguarded): the next entry becomes the phone, and
 * the same request once more would clear that too.
 */
export type UpdatePatientContactInput = {
  /** The whole address: parts left out are removed. */
  address?: AddressInput | null | undefined;
  /** An email address, cleaned as the phone is. */
  email?: string | null | undefined;
  /**
   * Patient.version that the change is based on. UpdateConflict if the fields to change have changed
   * since, here or on the FHIR server, or if the record never had this version. What changed in other
   * fields does not matter.
   */
  expectedVersion?: string | null | undefined;
  /**
   * Makes a retry safe: for the same caller, the same key with the same content writes at most once
   * and gets the same answer for IDEMPOTENCY_TTL. What says applied NO and a conflict that is
   * retryable are not remembered: a retry tries again. 1 to 128 characters, chosen by the client, best
   * a new UUID for each change.
   */
  idempotencyKey?: string | null | undefined;
  /** The patient number, or a former one. */
  patientId: string;
  /**
   * 1 to 64 characters, no email address; checked for PHONE_REGION where that is set, else the FHIR
   * server decides.
   * Invisible characters and blanks around it are taken out first, full-width characters become plain ones.
   */
  phone?: string | null | undefined;
};

/** A change of the fields that exist here only. A field left out stays, null clears it, a value sets it. */
export type UpdatePatientProfileInput = {
  /** The whole list; at most 100 of 200 characters. An empty list: none are known. Null: nothing is recorded. */
  allergies?: Array<string> | null | undefined;
  /** ABO and Rh: A+, A-, B+, B-, AB+, AB-, O+ or O-. */
  bloodType?: string | null | undefined;
  /** Whom to call in an emergency. Null: as the FHIR server says. */
  emergencyContact?: EmergencyContactInput | null | undefined;
  /** Patient.version that the change is based on. UpdateConflict if the fields to change have changed since. */
  expectedVersion?: string | null | undefined;
  /** The patient number, or a former one. */
  patientId: string;
};

type Outcome_FhirRejected_Fragment = { __typename: 'FhirRejected', operationId: string, detail: string, message: string, code: ErrorCode, retryable: boolean, issues: Array<{ message: string, field: Array<string> | null }>, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } };

type Outcome_FhirUnavailable_Fragment = { __typename: 'FhirUnavailable', operationId: string, detail: string, applied: Applied, retryAfterSeconds: number | null, message: string, code: ErrorCode, retryable: boolean, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } };

type Outcome_InvalidInput_Fragment = { __typename: 'InvalidInput', message: string, code: ErrorCode, retryable: boolean, fieldErrors: Array<{ field: Array<string>, message: string }> };

type Outcome_NotPermitted_Fragment = { __typename: 'NotPermitted', message: string, code: ErrorCode, retryable: boolean };

type Outcome_PatientNotFound_Fragment = { __typename: 'PatientNotFound', message: string, code: ErrorCode, retryable: boolean };

type Outcome_UpdateConflict_Fragment = { __typename: 'UpdateConflict', operationId: string, conflictingFields: Array<string>, message: string, code: ErrorCode, retryable: boolean, current: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } | null };

type Outcome_UpdatePatientContactSuccess_Fragment = { __typename: 'UpdatePatientContactSuccess', normalized: Array<string>, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } };

export type OutcomeFragment =
  | Outcome_FhirRejected_Fragment
  | Outcome_FhirUnavailable_Fragment
  | Outcome_InvalidInput_Fragment
  | Outcome_NotPermitted_Fragment
  | Outcome_PatientNotFound_Fragment
  | Outcome_UpdateConflict_Fragment
  | Outcome_UpdatePatientContactSuccess_Fragment
;

export type UpdateContactMutationVariables = Exact<{
  input: UpdatePatientContactInput;
}>;


export type UpdateContactMutation = { updatePatientContact:
    | { __typename: 'FhirRejected', operationId: string, detail: string, message: string, code: ErrorCode, retryable: boolean, issues: Array<{ message: string, field: Array<string> | null }>, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } }
    | { __typename: 'FhirUnavailable', operationId: string, detail: string, applied: Applied, retryAfterSeconds: number | null, message: string, code: ErrorCode, retryable: boolean, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } }
    | { __typename: 'InvalidInput', message: string, code: ErrorCode, retryable: boolean, fieldErrors: Array<{ field: Array<string>, message: string }> }
    | { __typename: 'NotPermitted', message: string, code: ErrorCode, retryable: boolean }
    | { __typename: 'PatientNotFound', message: string, code: ErrorCode, retryable: boolean }
    | { __typename: 'UpdateConflict', operationId: string, conflictingFields: Array<string>, message: string, code: ErrorCode, retryable: boolean, current: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } | null }
    | { __typename: 'UpdatePatientContactSuccess', normalized: Array<string>, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } }
   };

export type ContactUpdateSettledSubscriptionVariables = Exact<{
  operationId: string;
}>;


export type ContactUpdateSettledSubscription = { contactUpdateSettled: { id: string, state: ContactUpdateState } };

export type ContactUpdateQueryVariables = Exact<{
  operationId: string;
}>;


export type ContactUpdateQuery = { contactUpdate: { id: string, result:
      | { __typename: 'FhirRejected', operationId: string, detail: string, message: string, code: ErrorCode, retryable: boolean, issues: Array<{ message: string, field: Array<string> | null }>, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } }
      | { __typename: 'FhirUnavailable', operationId: string, detail: string, applied: Applied, retryAfterSeconds: number | null, message: string, code: ErrorCode, retryable: boolean, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } }
      | { __typename: 'InvalidInput', message: string, code: ErrorCode, retryable: boolean, fieldErrors: Array<{ field: Array<string>, message: string }> }
      | { __typename: 'NotPermitted', message: string, code: ErrorCode, retryable: boolean }
      | { __typename: 'PatientNotFound', message: string, code: ErrorCode, retryable: boolean }
      | { __typename: 'UpdateConflict', operationId: string, conflictingFields: Array<string>, message: string, code: ErrorCode, retryable: boolean, current: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } | null }
      | { __typename: 'UpdatePatientContactSuccess', normalized: Array<string>, patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } }
     | null } | null };

export type ListedPatientFragment = { id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState };

export type ProfileFragment = { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null };

export type ViewerQueryVariables = Exact<{ [key: string]: never; }>;


export type ViewerQuery = { viewer: { role: string, patientId: string | null, patientIds: Array<string> } };

export type PatientsQueryVariables = Exact<{
  filter?: PatientFilter | null | undefined;
  orderBy?: PatientOrder | null | undefined;
  after?: string | null | undefined;
}>;


export type PatientsQuery = { patients: { totalCount: number, edges: Array<{ cursor: string, node: { id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type PatientQueryVariables = Exact<{
  id: string;
}>;


export type PatientQuery = { patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } | null };

export type PatientChangedSubscriptionVariables = Exact<{
  id: string;
}>;


export type PatientChangedSubscription = { patientChanged: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } | null };

type Failure_FhirRejected_Fragment = { message: string, code: ErrorCode, retryable: boolean };

type Failure_FhirUnavailable_Fragment = { message: string, code: ErrorCode, retryable: boolean };

type Failure_InvalidInput_Fragment = { message: string, code: ErrorCode, retryable: boolean, fieldErrors: Array<{ field: Array<string>, message: string }> };

type Failure_NotPermitted_Fragment = { message: string, code: ErrorCode, retryable: boolean };

type Failure_PatientNotFound_Fragment = { message: string, code: ErrorCode, retryable: boolean };

type Failure_UpdateConflict_Fragment = { operationId: string, conflictingFields: Array<string>, message: string, code: ErrorCode, retryable: boolean, current: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } | null };

export type FailureFragment =
  | Failure_FhirRejected_Fragment
  | Failure_FhirUnavailable_Fragment
  | Failure_InvalidInput_Fragment
  | Failure_NotPermitted_Fragment
  | Failure_PatientNotFound_Fragment
  | Failure_UpdateConflict_Fragment
;

export type UpdateProfileMutationVariables = Exact<{
  input: UpdatePatientProfileInput;
}>;


export type UpdateProfileMutation = { updatePatientProfile:
    | { __typename: 'InvalidInput', message: string, code: ErrorCode, retryable: boolean, fieldErrors: Array<{ field: Array<string>, message: string }> }
    | { __typename: 'NotPermitted', message: string, code: ErrorCode, retryable: boolean }
    | { __typename: 'PatientNotFound', message: string, code: ErrorCode, retryable: boolean }
    | { __typename: 'UpdateConflict', operationId: string, conflictingFields: Array<string>, message: string, code: ErrorCode, retryable: boolean, current: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } | null }
    | { __typename: 'UpdatePatientProfileSuccess', patient: { phone: string | null, email: string | null, lastSyncedAt: string | null, version: string, id: string, fullName: string | null, birthDate: string | null, birthYear: number | null, gender: Gender, active: boolean, deceased: boolean, replacedBy: string | null, syncState: SyncState, address: { text: string | null, lines: Array<string>, city: string | null, district: string | null, state: string | null, postalCode: string | null, country: string | null } | null, emergencyContact: { name: string, relationship: string | null, phone: string | null, source: EmergencyContactSource } | null } }
   };

export const ListedPatientFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}}]} as unknown as DocumentNode<ListedPatientFragment, unknown>;
export const ProfileFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Profile"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"email"}},{"kind":"Field","name":{"kind":"Name","value":"address"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"text"}},{"kind":"Field","name":{"kind":"Name","value":"lines"}},{"kind":"Field","name":{"kind":"Name","value":"city"}},{"kind":"Field","name":{"kind":"Name","value":"district"}},{"kind":"Field","name":{"kind":"Name","value":"state"}},{"kind":"Field","name":{"kind":"Name","value":"postalCode"}},{"kind":"Field","name":{"kind":"Name","value":"country"}}]}},{"kind":"Field","name":{"kind":"Name","value":"emergencyContact"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"relationship"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"source"}}]}},{"kind":"Field","name":{"kind":"Name","value":"lastSyncedAt"}},{"kind":"Field","name":{"kind":"Name","value":"version"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}}]} as unknown as DocumentNode<ProfileFragment, unknown>;
export const FailureFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failure"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UserError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"code"}},{"kind":"Field","name":{"kind":"Name","value":"retryable"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InvalidInput"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"fieldErrors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"field"}},{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdateConflict"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"conflictingFields"}},{"kind":"Field","name":{"kind":"Name","value":"current"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Profile"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"email"}},{"kind":"Field","name":{"kind":"Name","value":"address"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"text"}},{"kind":"Field","name":{"kind":"Name","value":"lines"}},{"kind":"Field","name":{"kind":"Name","value":"city"}},{"kind":"Field","name":{"kind":"Name","value":"district"}},{"kind":"Field","name":{"kind":"Name","value":"state"}},{"kind":"Field","name":{"kind":"Name","value":"postalCode"}},{"kind":"Field","name":{"kind":"Name","value":"country"}}]}},{"kind":"Field","name":{"kind":"Name","value":"emergencyContact"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"relationship"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"source"}}]}},{"kind":"Field","name":{"kind":"Name","value":"lastSyncedAt"}},{"kind":"Field","name":{"kind":"Name","value":"version"}}]}}]} as unknown as DocumentNode<FailureFragment, unknown>;
export const OutcomeFragmentDoc = {"kind":"Document","definitions":[{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Outcome"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientContactResult"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failure"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientContactSuccess"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"normalized"}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"FhirRejected"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"detail"}},{"kind":"Field","name":{"kind":"Name","value":"issues"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"field"}}]}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"FhirUnavailable"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"detail"}},{"kind":"Field","name":{"kind":"Name","value":"applied"}},{"kind":"Field","name":{"kind":"Name","value":"retryAfterSeconds"}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Profile"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"email"}},{"kind":"Field","name":{"kind":"Name","value":"address"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"text"}},{"kind":"Field","name":{"kind":"Name","value":"lines"}},{"kind":"Field","name":{"kind":"Name","value":"city"}},{"kind":"Field","name":{"kind":"Name","value":"district"}},{"kind":"Field","name":{"kind":"Name","value":"state"}},{"kind":"Field","name":{"kind":"Name","value":"postalCode"}},{"kind":"Field","name":{"kind":"Name","value":"country"}}]}},{"kind":"Field","name":{"kind":"Name","value":"emergencyContact"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"relationship"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"source"}}]}},{"kind":"Field","name":{"kind":"Name","value":"lastSyncedAt"}},{"kind":"Field","name":{"kind":"Name","value":"version"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failure"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UserError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"code"}},{"kind":"Field","name":{"kind":"Name","value":"retryable"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InvalidInput"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"fieldErrors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"field"}},{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdateConflict"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"conflictingFields"}},{"kind":"Field","name":{"kind":"Name","value":"current"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}}]} as unknown as DocumentNode<OutcomeFragment, unknown>;
export const UpdateContactDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"UpdateContact"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"input"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientContactInput"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"updatePatientContact"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"input"},"value":{"kind":"Variable","name":{"kind":"Name","value":"input"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Outcome"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Profile"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"email"}},{"kind":"Field","name":{"kind":"Name","value":"address"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"text"}},{"kind":"Field","name":{"kind":"Name","value":"lines"}},{"kind":"Field","name":{"kind":"Name","value":"city"}},{"kind":"Field","name":{"kind":"Name","value":"district"}},{"kind":"Field","name":{"kind":"Name","value":"state"}},{"kind":"Field","name":{"kind":"Name","value":"postalCode"}},{"kind":"Field","name":{"kind":"Name","value":"country"}}]}},{"kind":"Field","name":{"kind":"Name","value":"emergencyContact"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"relationship"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"source"}}]}},{"kind":"Field","name":{"kind":"Name","value":"lastSyncedAt"}},{"kind":"Field","name":{"kind":"Name","value":"version"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failure"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UserError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"code"}},{"kind":"Field","name":{"kind":"Name","value":"retryable"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InvalidInput"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"fieldErrors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"field"}},{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdateConflict"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"conflictingFields"}},{"kind":"Field","name":{"kind":"Name","value":"current"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Outcome"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientContactResult"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failure"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientContactSuccess"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"normalized"}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"FhirRejected"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"detail"}},{"kind":"Field","name":{"kind":"Name","value":"issues"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"field"}}]}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"FhirUnavailable"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"detail"}},{"kind":"Field","name":{"kind":"Name","value":"applied"}},{"kind":"Field","name":{"kind":"Name","value":"retryAfterSeconds"}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}}]} as unknown as DocumentNode<UpdateContactMutation, UpdateContactMutationVariables>;
export const ContactUpdateSettledDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"subscription","name":{"kind":"Name","value":"ContactUpdateSettled"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"operationId"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ID"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"contactUpdateSettled"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"operationId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"operationId"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"state"}}]}}]}}]} as unknown as DocumentNode<ContactUpdateSettledSubscription, ContactUpdateSettledSubscriptionVariables>;
export const ContactUpdateDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"ContactUpdate"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"operationId"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ID"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"contactUpdate"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"operationId"},"value":{"kind":"Variable","name":{"kind":"Name","value":"operationId"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"result"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Outcome"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Profile"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"email"}},{"kind":"Field","name":{"kind":"Name","value":"address"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"text"}},{"kind":"Field","name":{"kind":"Name","value":"lines"}},{"kind":"Field","name":{"kind":"Name","value":"city"}},{"kind":"Field","name":{"kind":"Name","value":"district"}},{"kind":"Field","name":{"kind":"Name","value":"state"}},{"kind":"Field","name":{"kind":"Name","value":"postalCode"}},{"kind":"Field","name":{"kind":"Name","value":"country"}}]}},{"kind":"Field","name":{"kind":"Name","value":"emergencyContact"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"relationship"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"source"}}]}},{"kind":"Field","name":{"kind":"Name","value":"lastSyncedAt"}},{"kind":"Field","name":{"kind":"Name","value":"version"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failure"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UserError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"code"}},{"kind":"Field","name":{"kind":"Name","value":"retryable"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InvalidInput"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"fieldErrors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"field"}},{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdateConflict"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"conflictingFields"}},{"kind":"Field","name":{"kind":"Name","value":"current"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Outcome"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientContactResult"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failure"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientContactSuccess"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"normalized"}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"FhirRejected"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"detail"}},{"kind":"Field","name":{"kind":"Name","value":"issues"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"field"}}]}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"FhirUnavailable"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"detail"}},{"kind":"Field","name":{"kind":"Name","value":"applied"}},{"kind":"Field","name":{"kind":"Name","value":"retryAfterSeconds"}},{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}}]} as unknown as DocumentNode<ContactUpdateQuery, ContactUpdateQueryVariables>;
export const ViewerDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Viewer"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"viewer"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"role"}},{"kind":"Field","name":{"kind":"Name","value":"patientId"}},{"kind":"Field","name":{"kind":"Name","value":"patientIds"}}]}}]}}]} as unknown as DocumentNode<ViewerQuery, ViewerQueryVariables>;
export const PatientsDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Patients"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"filter"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"PatientFilter"}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"orderBy"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"PatientOrder"}}},{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"after"}},"type":{"kind":"NamedType","name":{"kind":"Name","value":"String"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"patients"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"filter"},"value":{"kind":"Variable","name":{"kind":"Name","value":"filter"}}},{"kind":"Argument","name":{"kind":"Name","value":"orderBy"},"value":{"kind":"Variable","name":{"kind":"Name","value":"orderBy"}}},{"kind":"Argument","name":{"kind":"Name","value":"first"},"value":{"kind":"IntValue","value":"20"}},{"kind":"Argument","name":{"kind":"Name","value":"after"},"value":{"kind":"Variable","name":{"kind":"Name","value":"after"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"edges"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"cursor"}},{"kind":"Field","name":{"kind":"Name","value":"node"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}}]}}]}},{"kind":"Field","name":{"kind":"Name","value":"pageInfo"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"hasNextPage"}},{"kind":"Field","name":{"kind":"Name","value":"endCursor"}}]}},{"kind":"Field","name":{"kind":"Name","value":"totalCount"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}}]} as unknown as DocumentNode<PatientsQuery, PatientsQueryVariables>;
export const PatientDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"query","name":{"kind":"Name","value":"Patient"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"id"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ID"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"patient"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"id"},"value":{"kind":"Variable","name":{"kind":"Name","value":"id"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Profile"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"email"}},{"kind":"Field","name":{"kind":"Name","value":"address"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"text"}},{"kind":"Field","name":{"kind":"Name","value":"lines"}},{"kind":"Field","name":{"kind":"Name","value":"city"}},{"kind":"Field","name":{"kind":"Name","value":"district"}},{"kind":"Field","name":{"kind":"Name","value":"state"}},{"kind":"Field","name":{"kind":"Name","value":"postalCode"}},{"kind":"Field","name":{"kind":"Name","value":"country"}}]}},{"kind":"Field","name":{"kind":"Name","value":"emergencyContact"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"relationship"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"source"}}]}},{"kind":"Field","name":{"kind":"Name","value":"lastSyncedAt"}},{"kind":"Field","name":{"kind":"Name","value":"version"}}]}}]} as unknown as DocumentNode<PatientQuery, PatientQueryVariables>;
export const PatientChangedDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"subscription","name":{"kind":"Name","value":"PatientChanged"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"id"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"ID"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"patientChanged"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"id"},"value":{"kind":"Variable","name":{"kind":"Name","value":"id"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Profile"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"email"}},{"kind":"Field","name":{"kind":"Name","value":"address"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"text"}},{"kind":"Field","name":{"kind":"Name","value":"lines"}},{"kind":"Field","name":{"kind":"Name","value":"city"}},{"kind":"Field","name":{"kind":"Name","value":"district"}},{"kind":"Field","name":{"kind":"Name","value":"state"}},{"kind":"Field","name":{"kind":"Name","value":"postalCode"}},{"kind":"Field","name":{"kind":"Name","value":"country"}}]}},{"kind":"Field","name":{"kind":"Name","value":"emergencyContact"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"relationship"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"source"}}]}},{"kind":"Field","name":{"kind":"Name","value":"lastSyncedAt"}},{"kind":"Field","name":{"kind":"Name","value":"version"}}]}}]} as unknown as DocumentNode<PatientChangedSubscription, PatientChangedSubscriptionVariables>;
export const UpdateProfileDocument = {"kind":"Document","definitions":[{"kind":"OperationDefinition","operation":"mutation","name":{"kind":"Name","value":"UpdateProfile"},"variableDefinitions":[{"kind":"VariableDefinition","variable":{"kind":"Variable","name":{"kind":"Name","value":"input"}},"type":{"kind":"NonNullType","type":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientProfileInput"}}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"updatePatientProfile"},"arguments":[{"kind":"Argument","name":{"kind":"Name","value":"input"},"value":{"kind":"Variable","name":{"kind":"Name","value":"input"}}}],"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"__typename"}},{"kind":"FragmentSpread","name":{"kind":"Name","value":"Failure"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdatePatientProfileSuccess"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"patient"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"ListedPatient"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"id"}},{"kind":"Field","name":{"kind":"Name","value":"fullName"}},{"kind":"Field","name":{"kind":"Name","value":"birthDate"}},{"kind":"Field","name":{"kind":"Name","value":"birthYear"}},{"kind":"Field","name":{"kind":"Name","value":"gender"}},{"kind":"Field","name":{"kind":"Name","value":"active"}},{"kind":"Field","name":{"kind":"Name","value":"deceased"}},{"kind":"Field","name":{"kind":"Name","value":"replacedBy"}},{"kind":"Field","name":{"kind":"Name","value":"syncState"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Profile"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"Patient"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"ListedPatient"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"email"}},{"kind":"Field","name":{"kind":"Name","value":"address"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"text"}},{"kind":"Field","name":{"kind":"Name","value":"lines"}},{"kind":"Field","name":{"kind":"Name","value":"city"}},{"kind":"Field","name":{"kind":"Name","value":"district"}},{"kind":"Field","name":{"kind":"Name","value":"state"}},{"kind":"Field","name":{"kind":"Name","value":"postalCode"}},{"kind":"Field","name":{"kind":"Name","value":"country"}}]}},{"kind":"Field","name":{"kind":"Name","value":"emergencyContact"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"name"}},{"kind":"Field","name":{"kind":"Name","value":"relationship"}},{"kind":"Field","name":{"kind":"Name","value":"phone"}},{"kind":"Field","name":{"kind":"Name","value":"source"}}]}},{"kind":"Field","name":{"kind":"Name","value":"lastSyncedAt"}},{"kind":"Field","name":{"kind":"Name","value":"version"}}]}},{"kind":"FragmentDefinition","name":{"kind":"Name","value":"Failure"},"typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UserError"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"message"}},{"kind":"Field","name":{"kind":"Name","value":"code"}},{"kind":"Field","name":{"kind":"Name","value":"retryable"}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"InvalidInput"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"fieldErrors"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"field"}},{"kind":"Field","name":{"kind":"Name","value":"message"}}]}}]}},{"kind":"InlineFragment","typeCondition":{"kind":"NamedType","name":{"kind":"Name","value":"UpdateConflict"}},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"Field","name":{"kind":"Name","value":"operationId"}},{"kind":"Field","name":{"kind":"Name","value":"conflictingFields"}},{"kind":"Field","name":{"kind":"Name","value":"current"},"selectionSet":{"kind":"SelectionSet","selections":[{"kind":"FragmentSpread","name":{"kind":"Name","value":"Profile"}}]}}]}}]}}]} as unknown as DocumentNode<UpdateProfileMutation, UpdateProfileMutationVariables>;