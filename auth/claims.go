package auth

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	defaultRoleClaim    = "role"
	defaultPatientClaim = "patient_id"
)

func (c Config) roleClaim() string {
	if c.RoleClaim == "" {
		return defaultRoleClaim
	}
	return c.RoleClaim
}

func (c Config) patientClaim() string {
	if c.PatientClaim == "" {
		return defaultPatientClaim
	}
	return c.PatientClaim
}

// viewer reads the claims that the configuration names. Claims that are
// missing or have an unexpected shape leave their field empty, which allows
// nothing; but a patient claim that cannot be read refuses the token of a viewer
// whose rights depend on it, who would else search for what is wrong.
func (c Config) viewer(claims jwt.MapClaims) (Viewer, error) {
	subject, err := claims.GetSubject()
	if err != nil {
		return Viewer{}, fmt.Errorf("%w: sub is not a string", ErrInvalidToken)
	}
	v := Viewer{
		Subject: subject,
		Role:    roleOf(lookup(claims, c.roleClaim())),
		grants:  grantsOf(claims),
	}
	v.PatientClaim, err = patientsOf(lookup(claims, c.patientClaim()))
	if err != nil && v.NeedsPatients() {
		return Viewer{}, err
	}
	if c.FHIRPatientClaim {
		v.FHIRIDs = v.PatientClaim
	} else {
		v.PatientIDs = v.PatientClaim
	}
	return v, nil
}

// patientsOf reads a patient claim: a string, or a list of them (parents,
// carers), sorted and each once. Null and "" name nobody. A number is refused
// rather than written out: JSON has lost the zeros that it may have begun with.
func patientsOf(claim any) ([]string, error) {
	var patients []string
	switch claim := claim.(type) {
	case nil:
	case string:
		patients = []string{claim}
	case []any:
		if len(claim) > maxPatients {
			return nil, errTooManyPatients
		}
		for _, element := range claim {
			id, isText := element.(string)
			if !isText && element != nil {
				return nil, errPatientClaim
			}
			patients = append(patients, id)
		}
	default:
		return nil, errPatientClaim
	}
	slices.Sort(patients)
	patients = slices.Compact(patients)
	if len(patients) > 0 && patients[0] == "" {
		patients = patients[1:]
	}
	if len(patients) == 0 {
		return nil, nil
	}
	return patients, nil
}

// lookup follows a dotted path through nested objects. A claim whose own name
// holds dots (https://example.org/role) is found too: the longest name wins.
func lookup(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	for i := strings.LastIndexByte(path, '.'); i >= 0; i = strings.LastIndexByte(path[:i], '.') {
		nested, ok := claims[path[:i]].(map[string]any)
		if !ok {
			continue
		}
		if v := lookup(nested, path[i+1:]); v != nil {
			return v
		}
	}
	return nil
}

// roleOf reads a role claim: a string, or an array (Keycloak, Entra ID) of
// which the first known role counts; with none known, the first string.
func roleOf(claim any) Role {
	switch claim := claim.(type) {
	case string:
		return Role(claim)
	case []any:
		var first Role
		for _, element := range claim {
			s, _ := element.(string)
			if Role(s).Known() {
				return Role(s)
			}
			if first == "" {
				first = Role(s)
			}
		}
		return first
	default:
		return ""
	}
}

// Sign makes an HS256 token that a Verifier with the same secret and the same
// Issuer, Audience, RoleClaim and PatientClaim accepts until now+ttl. The
// other fields of c are ignored. It is meant for development and the demo: the
// subject is derived from the role and the patients, of whom there may be none.
func Sign(secret []byte, c Config, role Role, patients []string, ttl time.Duration, now time.Time) (string, error) {
	if err := checkSecret(secret); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	if role == "" {
		return "", fmt.Errorf("sign token: no role")
	}
	if ttl < time.Second {
		return "", fmt.Errorf("sign token: lifetime %v is shorter than a second", ttl)
	}
	claims := map[string]any{}
	if err := put(claims, c.roleClaim(), string(role)); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	subject := string(role)
	if len(patients) > 0 {
		subject += ":" + strings.Join(patients, ",")
		var claim any = patients
		if len(patients) == 1 {
			claim = patients[0]
		}
		if err := put(claims, c.patientClaim(), claim); err != nil {
			return "", fmt.Errorf("sign token: %w", err)
		}
	}
	claims["sub"] = subject
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(ttl).Unix()
	if c.Issuer != "" {
		claims["iss"] = c.Issuer
	}
	if c.Audience != "" {
		claims["aud"] = c.Audience
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims)).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// put stores the value where lookup finds it under the same path.
func put(claims map[string]any, path string, value any) error {
	name, rest, nested := strings.Cut(path, ".")
	if !nested {
		if _, taken := claims[name]; taken {
			return fmt.Errorf("claim %q is used twice", name)
		}
		claims[name] = value
		return nil
	}
	if claims[name] == nil {
		claims[name] = map[string]any{}
	}
	inner, ok := claims[name].(map[string]any)
	if !ok {
		return fmt.Errorf("claim %q is used twice", name)
	}
	return put(inner, rest, value)
}
