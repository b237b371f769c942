package edgedistill.sample

import android.app.Activity
import android.content.pm.ApplicationInfo
import android.os.Bundle
import android.util.Log
import android.view.WindowManager
import android.widget.TextView
import edgedistill.models.quickstart.AssetBundle
import java.io.File
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.thread

/** The measuring screen: `edgedistill bench FILE` with the option `app` starts it with a job, and reads the records that it writes. */
class MeasureActivity : Activity() {
    private val hidden = AtomicBoolean()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        val message = TextView(this)
        message.textSize = 24f
        message.setPadding(48, 192, 48, 48)
        setContentView(message)
        val text = intent.getStringExtra("job")
        if (text == null) {
            message.setText(R.string.no_job)
            return
        }
        message.setText(R.string.measuring)
        thread(name = "measure") {
            val failure = run(text)
            runOnUiThread { message.text = failure ?: getString(R.string.measured) }
        }
    }

    override fun onStop() {
        super.onStop()
        // Android gives apps that are not in front fewer and slower cores.
        hidden.set(true)
    }

    /** Measures as the job [text] says; returns what went wrong, or null. */
    private fun run(text: String): String? {
        val job = try {
            MeasureJob.parse(text)
        } catch (error: Exception) {
            // Where to write an error is not known either; the host shows the log.
            Log.e(TAG, "the job is wrong", error)
            return error.message ?: error.toString()
        }
        Recorder(File(place(), job.out)).use { recorder ->
            return try {
                measure(job, AssetBundle(applicationContext, MODEL_FOLDER), recorder) {
                    check(!hidden.get()) { "the measuring screen is not in front any more" }
                }
                null
            } catch (error: Exception) {
                Log.e(TAG, "the measurement failed", error)
                val why = "${error.javaClass.simpleName}: ${error.message}"
                recorder.write("error", "message" to why)
                why
            }
        }
    }

    /** Where adb can read: of a debuggable build the app's own folder, of others the external one. */
    private fun place(): File {
        val debuggable = applicationInfo.flags and ApplicationInfo.FLAG_DEBUGGABLE != 0
        return if (debuggable) filesDir else getExternalFilesDir(null) ?: filesDir
    }

    private companion object {
        const val TAG = "edgedistill"
    }
}
