import PhotosUI
import SwiftUI

/// Camera or picture, the labels with their probabilities, the latency, and the self-test.
struct MainView: View {
    @State private var classifier = Classifier()
    @State private var camera: Camera?
    @State private var refused = false
    @State private var picked: PhotosPickerItem?

    var body: some View {
        VStack(spacing: 12) {
            HStack {
                Button("Camera", systemImage: "camera") { Task { await switchCamera() } }
                    .buttonStyle(.borderedProminent)
                PhotosPicker("Picture", selection: $picked, matching: .images)
                    .buttonStyle(.borderedProminent)
                Button("Self-test") { Task { await classifier.selfTest() } }
                    .buttonStyle(.bordered)
                    .disabled(classifier.info == nil)
            }
            if let camera {
                CameraView(camera: camera, classifier: classifier)
            } else if refused {
                Text("The camera is not allowed. Choose a picture, or allow it in the settings.")
            }
            ResultView(classifier: classifier)
        }
        .padding()
        .task { await classifier.load() }
        .onChange(of: picked) { Task { await see() } }
    }

    private func switchCamera() async {
        if camera != nil {
            camera = nil
            return
        }
        camera = await Camera.allowed()
        refused = camera == nil
    }

    private func see() async {
        guard let item = picked else { return }
        camera = nil
        do {
            if let file = try await item.loadTransferable(type: Data.self) { await classifier.see(file) }
        } catch {
            classifier.show(error)
        }
    }
}
