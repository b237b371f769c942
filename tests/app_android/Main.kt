package edgedistill.sample

import edgedistill.glue.FolderBundle
import java.io.File

/** Measures as the app does: `JOB BUNDLE FOLDER [AFTER]`; the app is hidden when it was asked AFTER times whether it still is in front. */
fun main(arguments: Array<String>) {
    val job = MeasureJob.parse(arguments[0])
    var left = arguments.getOrNull(3)?.toInt() ?: Int.MAX_VALUE
    Recorder(File(arguments[2], job.out)).use { recorder ->
        try {
            measure(job, FolderBundle(File(arguments[1])), recorder) { check(--left > 0) { "not in front any more" } }
        } catch (error: Exception) {
            recorder.write("error", "message" to "${error.javaClass.simpleName}: ${error.message}")
        }
    }
    // What has to be as in the kit's runner: ranks, and the decision when a warm-up is over.
    for (n in listOf(5, 6, 50, 1000, 100_000)) println("rank $n ${lowerRank(n)}")
    for (step in listOf(0.0, 0.0001, 0.01, 0.05)) println("steady $step ${isSteady(List(9) { 100 * (1 + step * it) }, 0.02)}")
    println("steady noise ${isSteady(listOf(100.0, 130.0, 90.0, 140.0, 95.0, 150.0, 92.0, 120.0), 0.001)}")
    println("width ${relativeHalfWidth((1L..1001L).toList())}")
}
