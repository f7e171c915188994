package door

import (
	"net/http"

	"clerestory.dev/clerestory/internal/gate/passkey"
)

// cookieName has the __Host- prefix on https: a browser then takes the cookie
// only from this very host, by https, for all its paths.
func (d *Door) cookieName() string {
	if d.cfg.HTTPS {
		return "__Host-clerestory"
	}
	return "clerestory"
}

func (d *Door) cookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: d.cookieName(), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: d.cfg.HTTPS, SameSite: http.SameSiteLaxMode}
}

// sessionToken reads the session's cookie; sent tells that there was something
// of its name, good or not. Two cookies of the name mean that somebody else
// planted one, and which one is ours can not be told: then there is none.
func (d *Door) sessionToken(r *http.Request) (token string, sent bool) {
	cookies := r.CookiesNamed(d.cookieName())
	if len(cookies) != 1 {
		return "", len(cookies) > 0
	}
	t, err := passkey.ParseToken(cookies[0].Value)
	if err != nil {
		return "", true
	}
	return t.String(), true
}
