import io.prometheus.metrics.exporter.httpserver.HTTPServer;
import io.prometheus.metrics.instrumentation.jvm.JvmMetrics;
import io.prometheus.metrics.model.registry.MultiCollector;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import io.prometheus.metrics.model.snapshots.CounterSnapshot;
import io.prometheus.metrics.model.snapshots.CounterSnapshot.CounterDataPointSnapshot;
import io.prometheus.metrics.model.snapshots.GaugeSnapshot;
import io.prometheus.metrics.model.snapshots.GaugeSnapshot.GaugeDataPointSnapshot;
import io.prometheus.metrics.model.snapshots.Labels;
import io.prometheus.metrics.model.snapshots.MetricSnapshots;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.reflect.InvocationTargetException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;

/** Starts a program in a Java machine that serves its own metrics, and those of its management beans that a file names. */
public final class JmxMetrics implements MultiCollector {
  private record Rule(String name, boolean counter, ObjectName pattern, String attribute) {}

  private final List<Rule> rules = new ArrayList<>();

  private JmxMetrics(Path file) throws IOException {
    for (String line : Files.readAllLines(file)) {
      if (line.isBlank() || line.startsWith("#")) {
        continue;
      }
      String[] words = line.strip().split("\\s+");
      if (words.length != 4 || !(words[1].equals("counter") || words[1].equals("gauge"))) {
        throw new IllegalArgumentException(file + ": not `name counter|gauge object attribute`: " + line);
      }
      try {
        // The library adds the end that every counter's name has.
        String name = words[0].endsWith("_total") ? words[0].substring(0, words[0].length() - 6) : words[0];
        rules.add(new Rule(name, words[1].equals("counter"), new ObjectName(words[2]), words[3]));
      } catch (JMException error) {
        throw new IllegalArgumentException(file + ": no name of an object: " + line, error);
      }
    }
  }

  /** PORT RULES CLASS ARGUMENT...: serves metrics at the port, then is the program of that class. */
  public static void main(String[] arguments) throws Throwable {
    JvmMetrics.builder().register();
    PrometheusRegistry.defaultRegistry.register(new JmxMetrics(Path.of(arguments[1])));
    // One request at a time, by a thread that no program waits for at its end, and that is there only while somebody asks.
    var pool = new ThreadPoolExecutor(1, 1, 5, TimeUnit.SECONDS, new LinkedBlockingQueue<>(8), task -> {
      Thread thread = new Thread(task, "jmx-metrics");
      thread.setDaemon(true);
      return thread;
    });
    pool.allowCoreThreadTimeOut(true);
    HTTPServer.builder().port(Integer.parseInt(arguments[0])).executorService(pool).buildAndStart();
    String[] rest = Arrays.copyOfRange(arguments, 3, arguments.length);
    try {
      Class.forName(arguments[2]).getMethod("main", String[].class).invoke(null, (Object) rest);
    } catch (InvocationTargetException error) {
      throw error.getCause();
    }
  }

  @Override
  public MetricSnapshots collect() {
    MBeanServer beans = ManagementFactory.getPlatformMBeanServer();
    MetricSnapshots.Builder found = MetricSnapshots.builder();
    for (Rule rule : rules) {
      Map<Labels, Double> samples = new TreeMap<>();
      for (ObjectName object : beans.queryNames(rule.pattern(), null)) {
        try {
          if (beans.getAttribute(object, rule.attribute()) instanceof Number value && !Double.isNaN(value.doubleValue())) {
            samples.put(labels(rule.pattern(), object), value.doubleValue());
          }
        } catch (JMException | RuntimeException error) {
          // Gone since it was listed, or not ready to say: the others are told all the same.
          continue;
        }
      }
      if (!samples.isEmpty()) {
        add(found, rule, samples);
      }
    }
    return found.build();
  }

  private static void add(MetricSnapshots.Builder found, Rule rule, Map<Labels, Double> samples) {
    String help = rule.pattern() + " " + rule.attribute();
    if (rule.counter()) {
      CounterSnapshot.Builder counter = CounterSnapshot.builder().name(rule.name()).help(help);
      samples.forEach((labels, value) ->
          counter.dataPoint(CounterDataPointSnapshot.builder().labels(labels).value(value).build()));
      found.metricSnapshot(counter.build());
    } else {
      GaugeSnapshot.Builder gauge = GaugeSnapshot.builder().name(rule.name()).help(help);
      samples.forEach((labels, value) ->
          gauge.dataPoint(GaugeDataPointSnapshot.builder().labels(labels).value(value).build()));
      found.metricSnapshot(gauge.build());
    }
  }

  private static Labels labels(ObjectName pattern, ObjectName object) {
    Labels.Builder labels = Labels.builder();
    pattern.getKeyPropertyList().forEach((key, value) -> {
      if (value.equals("*")) {
        labels.label(key.replaceAll("[^A-Za-z0-9_]", "_").toLowerCase(), object.getKeyProperty(key));
      }
    });
    return labels.build();
  }
}
