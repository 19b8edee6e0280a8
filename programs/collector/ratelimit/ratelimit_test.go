package ratelimit

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/processor"
)

func lines(container string, count int, at time.Time, apart time.Duration) plog.Logs {
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("k8s.container.name", container)
	records := resource.ScopeLogs().AppendEmpty().LogRecords()
	for range count {
		record := records.AppendEmpty()
		record.Body().SetStr(string(make([]byte, 1000)))
		record.SetTimestamp(pcommon.NewTimestampFromTime(at))
		at = at.Add(apart)
	}
	return logs
}

func passed(t *testing.T, all ...plog.Logs) map[string]int {
	t.Helper()
	sink := &consumertest.LogsSink{}
	set := processor.Settings{TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	limiter, err := create(context.Background(), set, &Config{BytesPerSecond: 10_000, BurstBytes: 50_000}, sink)
	if err != nil {
		t.Fatal(err)
	}
	for _, logs := range all {
		if err := limiter.ConsumeLogs(context.Background(), logs); err != nil {
			t.Fatal(err)
		}
	}
	counts := map[string]int{}
	for _, logs := range sink.AllLogs() {
		for _, resource := range logs.ResourceLogs().All() {
			name, _ := resource.Resource().Attributes().Get("k8s.container.name")
			counts[name.AsString()] += logs.LogRecordCount()
		}
	}
	return counts
}

func TestAFloodIsCutAndTheOthersAreNot(t *testing.T) {
	now := time.Now()
	counts := passed(t, lines("loud", 500, now, 0), lines("quiet", 10, now, 0))
	if counts["loud"] < 40 || counts["loud"] > 55 {
		t.Errorf("a burst of 50 lines may pass, not %d", counts["loud"])
	}
	if counts["quiet"] != 10 {
		t.Errorf("%d of 10 lines of the quiet one passed", counts["quiet"])
	}
}

// As after an outage: read all at once, written within an hour.
func TestLinesThatWereWrittenSlowlyPassHoweverLateTheyAreRead(t *testing.T) {
	counts := passed(t, lines("steady", 3000, time.Now().Add(-time.Hour), time.Second))
	if counts["steady"] != 3000 {
		t.Errorf("%d of 3000 lines passed", counts["steady"])
	}
}

func TestLevelsAreSevenWords(t *testing.T) {
	for number, word := range map[plog.SeverityNumber]string{
		-5: "NONE", plog.SeverityNumberUnspecified: "NONE", plog.SeverityNumberTrace: "TRACE", plog.SeverityNumberInfo: "INFO",
		plog.SeverityNumberInfo4: "INFO", plog.SeverityNumberError: "ERROR", plog.SeverityNumberFatal4: "FATAL", 99: "FATAL",
	} {
		if got := level(number); got != word {
			t.Errorf("%d is %s, not %s", number, word, got)
		}
	}
}
