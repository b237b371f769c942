import AVFoundation
import SampleModel
import SwiftUI

/// The picture of a camera. Each frame that there is time for goes to the classifier.
struct CameraView: View {
    let camera: Camera
    let classifier: Classifier

    var body: some View {
        CameraPreview(session: camera.session)
            .task {
                camera.start()
                defer { camera.stop() }
                do {
                    for try await frame in camera.frames {
                        await classifier.see(frame)
                    }
                } catch {
                    classifier.show(error)
                }
            }
    }
}

private struct CameraPreview: UIViewRepresentable {
    let session: AVCaptureSession

    func makeUIView(context: Context) -> PreviewView {
        let view = PreviewView()
        view.preview?.session = session
        view.preview?.videoGravity = .resizeAspectFill
        return view
    }

    func updateUIView(_ view: PreviewView, context: Context) {}
}

private final class PreviewView: UIView {
    override class var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }

    var preview: AVCaptureVideoPreviewLayer? { layer as? AVCaptureVideoPreviewLayer }
}
