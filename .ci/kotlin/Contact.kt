// An app's use of what was generated: it compiles only if each member is a type.
package patientgraph

import com.apollographql.apollo.api.Optional
import patientgraph.type.UpdatePatientContactInput

fun mutation(patient: PatientQuery.Patient, phone: String?) = UpdateContactMutation(
    UpdatePatientContactInput(
        patientId = patient.contact.id,
        phone = Optional.present(phone),
        expectedVersion = Optional.present(patient.contact.version),
    ),
)

fun words(result: UpdateContactMutation.UpdatePatientContact): String? = listOfNotNull(
    result.onUpdatePatientContactSuccess?.patient?.contact?.phone,
    result.onInvalidInput?.fieldErrors?.joinToString { it.message },
    result.onUpdateConflict?.conflictingFields?.joinToString(),
    result.onFhirRejected?.detail,
    result.onFhirUnavailable?.applied?.rawValue,
    result.reason?.message, // PatientNotFound and NotPermitted have nothing else
).firstOrNull()

fun state(node: NodeQuery.Node) = node.contact?.syncState?.rawValue ?: node.onContactUpdate?.state?.rawValue
