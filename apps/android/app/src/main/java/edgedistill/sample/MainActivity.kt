package edgedistill.sample

import android.Manifest
import android.content.pm.PackageManager
import android.os.Bundle
import androidx.activity.ComponentActivity
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.compose.setContent
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.activity.result.contract.ActivityResultContracts.RequestPermission
import androidx.activity.viewModels
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.safeDrawingPadding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp
import androidx.core.content.ContextCompat

/** Camera or picture, the labels with their probabilities, the latency, and the self-test. */
class MainActivity : ComponentActivity() {
    private val classifier: Classifier by viewModels()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContent {
            MaterialTheme {
                Surface(Modifier.fillMaxSize()) { Screen(classifier) }
            }
        }
    }
}

@Composable
private fun Screen(classifier: Classifier) {
    val context = LocalContext.current
    var camera by rememberSaveable { mutableStateOf(false) }
    var refused by rememberSaveable { mutableStateOf(false) }
    val ask = rememberLauncherForActivityResult(RequestPermission()) { allowed ->
        camera = allowed
        refused = !allowed
    }
    val pick = rememberLauncherForActivityResult(PickVisualMedia()) { uri -> uri?.let(classifier::see) }
    Column(Modifier.safeDrawingPadding().padding(16.dp), Arrangement.spacedBy(12.dp)) {
        Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Button(onClick = {
                val state = ContextCompat.checkSelfPermission(context, Manifest.permission.CAMERA)
                if (state == PackageManager.PERMISSION_GRANTED) camera = !camera else ask.launch(Manifest.permission.CAMERA)
            }) { Text(stringResource(R.string.camera)) }
            Button(onClick = {
                camera = false
                pick.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly))
            }) { Text(stringResource(R.string.gallery)) }
            OutlinedButton(onClick = classifier::selfTest, enabled = classifier.info != null) {
                Text(stringResource(R.string.self_test))
            }
        }
        if (camera) CameraView(classifier::see, Modifier.fillMaxWidth().weight(1f))
        if (refused && !camera) Text(stringResource(R.string.no_camera))
        Column(Modifier.weight(1f).verticalScroll(rememberScrollState()), Arrangement.spacedBy(8.dp)) { Result(classifier) }
    }
}

@Composable
private fun Result(classifier: Classifier) {
    for (score in classifier.scores) {
        Text(score.toString(), style = MaterialTheme.typography.titleMedium)
        LinearProgressIndicator(progress = { score.probability.toFloat() }, modifier = Modifier.fillMaxWidth())
    }
    val latencies = classifier.latencies
    if (latencies.isNotEmpty()) Text(stringResource(R.string.latency, median(latencies), latencies.size))
    Text(classifier.info ?: classifier.message ?: stringResource(R.string.loading))
    if (classifier.info != null) classifier.message?.let { Text(it) }
}
