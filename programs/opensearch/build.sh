# Sorts the jars into the folders that the server looks for, and writes the descriptors that a distribution would have.
version=$(basename maven/opensearch-3*.jar .jar)
version=${version#opensearch-}

descriptor() { # FOLDER CLASS EXTENDED
  cat >"$1/plugin-descriptor.properties" <<END
description=$(basename "$1")
version=$version
name=$(basename "$1")
classname=$2
java.version=21
opensearch.version=$version
extended.plugins=$3
has.native.controller=false
END
}

module() { # NAME CLASS EXTENDED JAR...
  folder=$OUT/modules/$1
  mkdir -p "$folder"
  descriptor "$folder" "org.opensearch.$2" "$3"
  if [ -f "policies/$1" ]; then cp "policies/$1" "$folder/plugin-security.policy"; fi
  shift 3
  for jar; do mv "maven/$jar"-[0-9]*.jar "$folder"; done
}

# The server looks into bin, and does not start where it could not make it.
mkdir -p "$OUT/agent" "$OUT/bin" "$OUT/lib" "$OUT/modules" "$OUT/plugins"

# The security plugin. Of what it extends, workload management may be absent, and its rules' framework is for that alone;
# the one library that it has from there comes along.
plugin=$OUT/plugins/opensearch-security
mv maven/opensearch-security "$plugin"
rm -r "$plugin/config" "$plugin/tools"
sed -i 's/^extended\.plugins=.*/extended.plugins=/' "$plugin/plugin-descriptor.properties"
mv maven/commons-collections4-*.jar "$plugin"

# These are the plugin's libraries too.
for name in aggs-matrix-stats lang-mustache mapper-extras parent-join rank-eval; do
  cp "$plugin/$name-client-$version.jar" maven
done
cp "$plugin"/compiler-*.jar maven

module aggs-matrix-stats search.aggregations.matrix.MatrixAggregationModulePlugin '' aggs-matrix-stats-client
module lang-mustache script.mustache.MustacheModulePlugin '' lang-mustache-client compiler
module lang-painless painless.PainlessModulePlugin '' \
  lang-painless opensearch-scripting-painless-spi antlr4-runtime asm asm-analysis asm-commons asm-tree asm-util
module analysis-common analysis.common.CommonAnalysisModulePlugin lang-painless analysis-common
module ingest-common ingest.common.IngestCommonModulePlugin lang-painless \
  ingest-common jcodings joni opensearch-dissect opensearch-grok
module mapper-extras index.mapper.MapperExtrasModulePlugin '' mapper-extras-client
module parent-join join.ParentJoinModulePlugin '' parent-join-client
module percolator percolator.PercolatorModulePlugin '' percolator-client
module rank-eval index.rankeval.RankEvalModulePlugin '' rank-eval-client
module reindex index.reindex.ReindexModulePlugin '' reindex-client opensearch-rest-client opensearch-ssl-config \
  commons-codec commons-logging httpclient5 httpcore5 httpcore5-h2 httpcore5-reactive slf4j-api
module transport-netty4 transport.Netty4ModulePlugin '' transport-netty4-client netty-buffer netty-codec \
  netty-codec-base netty-codec-compression netty-codec-http netty-codec-http2 netty-common netty-handler \
  netty-resolver netty-transport netty-transport-native-unix-common

mv maven/opensearch-agent-"$version".jar maven/opensearch-agent-bootstrap-*.jar maven/byte-buddy-*.jar "$OUT/agent"
mv maven/*.jar "$OUT/lib"
