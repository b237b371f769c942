package edgedistill.glue

/**
 * The output of a model that gives each label a score.
 *
 * @property output its name
 * @property labels in its order
 */
internal class Scores(val output: String, val labels: List<String>) {
    companion object {
        /** Reads what the manifest of [model] says of it. */
        fun of(model: Model): Scores = reading {
            val document = model.manifest.document
            val outputs = document.getJSONObject("preprocessing").getJSONObject("outputs")
            val output = outputs.keys().asSequence().find { outputs.getJSONObject(it).optString("kind") == "scores" }
                ?: throw ModelError.DamagedManifest("has no output of the kind scores")
            val entry = outputs.getJSONObject(output)
            expect("postprocessing", entry.getString("postprocessing"), "softmax")
            if (!entry.isNull("temperature")) {
                expect("temperature.where", entry.getJSONObject("temperature").getString("where"), "inside the program")
            }
            val labels = document.getJSONArray("labels").map { all, i -> all.getString(i) }
            val port = model.artifact.outputs.find { it.name == output }
                ?: throw ModelError.DamagedManifest("has no output $output of ${model.artifact.name}")
            val expected = port.shape.lastOrNull() ?: 0
            if (labels.size != expected) throw WrongLabels(labels.size, expected)
            Scores(output, labels)
        }

        private fun expect(key: String, found: String, expected: String) {
            if (found != expected) throw ModelError.DamagedManifest("found the $key $found, expected $expected")
        }
    }
}
