package operator

import (
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// counts turns events into metrics.
type counts struct{ *metrics.Metrics }

func (c counts) note(e Event) {
	switch e := e.(type) {
	case CallEnded:
		c.callEnded(e)
	case CallSentAgain:
		c.Resend(e.Portal, string(e.Reason))
	case Joined:
		c.Batch(e.Portal, e.Reads)
	case SentAlone:
		c.Fallback(e.Portal, string(e.Reason))
	case RepeatSeen:
		c.Replay(e.Portal, e.Result)
	case AttemptBegan:
		c.AttemptStarted(e.Portal)
	case AttemptEnded:
		c.AttemptDone(e.Portal, e.Status, e.Took, e.RequestID)
	case ErrorSeen:
		c.Error(e.Portal, codeLabel(e), e.Source)
	}
}

func (c counts) callEnded(e CallEnded) {
	c.Request(e.Portal, e.Outcome, e.Status, e.Took, e.RequestID)
	c.ClientRequest(e.Client, e.Outcome)
	if e.GotSlot {
		c.QueueWait(e.Portal, e.Urgency, e.wait(), e.RequestID)
	}
	if e.LeftQueue {
		c.Abandoned(e.Portal)
	}
	if e.Rejection != "" {
		c.Rejected(e.Portal, string(e.Rejection))
	}
}

// codeLabel is the code if it is in the table or one of our own, else a word for
// all others: a portal may send anything.
func codeLabel(e ErrorSeen) string {
	if e.IsOurs {
		return string(e.Code)
	}
	return bitrix24.Label(e.Code)
}
