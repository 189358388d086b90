package fhirsim

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
)

// Database is how the database of a Clinic does.
type Database int

// The states of a clinic's database.
const (
	DatabaseUp     Database = iota
	DatabaseLocked          // another transaction holds the rows: the UPDATE of a PUT waits and fails, reads go on
	DatabaseDown            // it does not answer
	DatabaseDies            // it stops while a PUT is under way; then it is down
)

// SetDatabase breaks the clinic's database, or mends it. Nothing is saved while
// it is broken.
func (k *Clinic) SetDatabase(d Database) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.database = d
}

// diedBytes is how much 7.0.4 and 8.0.0 sent when their database died: one line
// a failed statement, until PHP's memory was full.
const diedBytes = 82_000_000

const (
	failedLog       = "SQL Statement failed on preparation: insert into `log` (`date`, `event`, `category`, `user`, `groupname`, `comments`, `user_notes`, `patient_id`, `success`, `crt_user`, `log_from`, `menu_item_id`, `ccda_doc_id`) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'\n"
	failedStatement = "SQL Statement failed on preparation: SELECT lang_definitions.definition\n  FROM lang_definitions\n  JOIN lang_constants\n USING (cons_id)\n WHERE lang_definitions.lang_id = ?\n   AND lang_constants.constant_name = ?\n LIMIT 1'\n"
	goneAway        = "MySQL server has gone away"
	refused         = "Connection refused"
)

// databaseDown answers anything while the database does not.
func (k *Clinic) databaseDown() answer {
	once := phpJSON(failure(refused, 2002), true)
	switch k.version {
	case emr703:
		return k.error(http.StatusInternalServerError, "", 0)
	case emr811:
		return k.api(http.StatusInternalServerError, once)
	}
	return k.api(http.StatusInternalServerError, append([]byte("Check that you can ping the server <unknown>."), bytes.Repeat(once, 2)...))
}

// databaseDied answers the PUT that was under way when the database stopped.
func (k *Clinic) databaseDied() answer {
	switch k.version {
	case emr703:
		return k.error(http.StatusInternalServerError, "", 0)
	case emr811:
		return k.api(http.StatusInternalServerError, bytes.Repeat(phpJSON(failure(goneAway, 2006), true), 2))
	}
	return k.html(http.StatusOK, diedPage())
}

// diedPage is made once, for its size.
var diedPage = sync.OnceValue(func() []byte {
	statements := bytes.Repeat([]byte(failedStatement), diedBytes/len(failedStatement))
	return append([]byte(failedLog), statements...)
})

// databaseLocked answers the PUT whose UPDATE waited for a lock in vain.
func (k *Clinic) databaseLocked(set []assignment) answer {
	var columns strings.Builder
	for _, a := range set {
		columns.WriteString("`" + a.column + "` = ? , ")
	}
	page := "<h2><font color='red'>Query Error</font></h2><p><font color='red'>ERROR:</font> query failed:  UPDATE patient_data SET " + columns.String() +
		"`date` = ?  WHERE `uuid` = ?</p><p>Error: <font color='red'>Lock wait timeout exceeded; try restarting transaction</font></p><br />"
	if k.version == emr703 || k.version == emr811 {
		return k.html(http.StatusOK, []byte(page))
	}
	broken := phpJSON(failure(`Object of class OpenEMR\Core\OEGlobalsBag could not be converted to string`, 0), true)
	return k.api(http.StatusInternalServerError, append([]byte(page), broken...))
}
