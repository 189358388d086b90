
      export type PossibleTypesResultData = {
  "possibleTypes": {
    "Node": [
      "ContactUpdate",
      "Patient"
    ],
    "UpdatePatientContactResult": [
      "FhirRejected",
      "FhirUnavailable",
      "InvalidInput",
      "NotPermitted",
      "PatientNotFound",
      "UpdateConflict",
      "UpdatePatientContactSuccess"
    ],
    "UpdatePatientProfileResult": [
      "InvalidInput",
      "NotPermitted",
      "PatientNotFound",
      "UpdateConflict",
      "UpdatePatientProfileSuccess"
    ],
    "UserError": [
      "FhirRejected",
      "FhirUnavailable",
      "InvalidInput",
      "NotPermitted",
      "PatientNotFound",
      "UpdateConflict"
    ]
  }
};
      const result: PossibleTypesResultData = {
  "possibleTypes": {
    "Node": [
      "ContactUpdate",
      "Patient"
    ],
    "UpdatePatientContactResult": [
      "FhirRejected",
      "FhirUnavailable",
      "InvalidInput",
      "NotPermitted",
      "PatientNotFound",
      "UpdateConflict",
      "UpdatePatientContactSuccess"
    ],
    "UpdatePatientProfileResult": [
      "InvalidInput",
      "NotPermitted",
      "PatientNotFound",
      "UpdateConflict",
      "UpdatePatientProfileSuccess"
    ],
    "UserError": [
      "FhirRejected",
      "FhirUnavailable",
      "InvalidInput",
      "NotPermitted",
      "PatientNotFound",
      "UpdateConflict"
    ]
  }
};
      export default result;
    