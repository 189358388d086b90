// What an app makes of what was generated; it compiles only if each member is a type.
package patientgraph

import com.apollographql.apollo.api.Optional
import patientgraph.fragment.Contact
import patientgraph.fragment.Outcome
import patientgraph.type.UpdatePatientContactInput

/** A change of what the user saw: phone is null where the user cleared it. */
fun save(seen: Contact, phone: String?, key: String) = SaveContactMutation(
    UpdatePatientContactInput(
        patientId = seen.id,
        phone = Optional.present(phone), // email and address are absent: they stay
        expectedVersion = Optional.present(seen.version),
        idempotencyKey = Optional.present(key),
    ),
)

/** What the outbox does next with a change, shortened: the whole is the table of ../README.md, and outbox.ts. */
enum class Next { DROP, ASK_AGAIN, PARK }

fun next(outcome: Outcome): Next = when {
    outcome.onUpdatePatientContactSuccess != null -> Next.DROP
    outcome.onFhirUnavailable != null -> Next.ASK_AGAIN
    outcome.onUpdateConflict != null && outcome.reason?.retryable == true -> Next.ASK_AGAIN
    else -> Next.PARK
}

/** Why, for the user: every member but Success is a UserError. */
fun words(outcome: Outcome): String? = outcome.onInvalidInput?.fieldErrors?.joinToString { it.message } ?: outcome.reason?.message

/** How it ended after all, once the subscription has told. */
fun settled(data: ContactUpdateSettledSubscription.Data): Outcome? = data.contactUpdateSettled.result?.outcome
