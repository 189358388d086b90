package apptest

import (
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"patientgraph/auth"
)

// Secret is the JWT_SECRET of every product that this package starts.
const Secret = "0123456789abcdef0123456789abcdef"

// Token returns a token for a role and, if it is not "", a patient's number.
func Token(t testing.TB, role auth.Role, patientID string) string {
	t.Helper()
	var patients []string
	if patientID != "" {
		patients = []string{patientID}
	}
	signed, err := auth.Sign([]byte(Secret), auth.Config{RoleClaim: "role", PatientClaim: "patient_id"}, role, patients, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TokenOf signs these claims; without exp they are good for an hour.
func TokenOf(t testing.TB, claims Object) string {
	t.Helper()
	lasting := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(lasting, claims)
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, lasting).SignedString([]byte(Secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
